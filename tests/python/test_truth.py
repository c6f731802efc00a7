"""Vectors of oxembed against independent ones.

Those of sentence-transformers in the fixtures and golden_*.npz, those of the numpy reference for settings drawn at
random, and those of numpy over small ONNX graphs written here by hand.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import tokenizers
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from reference import golden
from reference.factory import BERT_FAMILIES, FAMILIES, FIXTURES, GOLDEN_FIXTURES, Family, make_model
from reference.postprocess import DENSE_ACTIVATIONS, POOLING_MODES
from reference.rotary_draws import rotary_models
from reference.sentence_transformer import SentenceTransformer, Transformer

from oxembed import Embedder, InvalidModelError

Floats = npt.NDArray[np.floating[Any]]

# What the project promises; longer vectors (no Normalize) may be off by that share of their largest number.
TOLERANCE = 1e-5

ONNX_FIXTURES = tuple(name for name in GOLDEN_FIXTURES if (FIXTURES / name / "onnx" / "model.onnx").is_file())
SOURCES = [(name, None) for name in GOLDEN_FIXTURES] + [(name, "onnx/model.onnx") for name in ONNX_FIXTURES]
# torch's exporter wrote this graph; how its matrix products round depends on how many texts there are.
NOT_STEADY = ("qwen3-lasttoken", "onnx/model.onnx")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
MINILM = FIXTURES / "all-MiniLM-L6-v2-golden"


def assert_close(vectors: Floats, truth: Floats, label: object = None) -> None:
    assert vectors.dtype == np.float32
    assert vectors.shape == truth.shape, label
    scale = np.maximum(1.0, np.abs(truth).max(axis=-1, keepdims=True, initial=0.0))
    apart = float((np.abs(vectors - truth) / scale).max(initial=0.0))
    assert apart <= TOLERANCE, (label, apart)


def same_bits(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- The fixtures ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loaded:
    model: Embedder
    texts: list[str]
    vectors: npt.NDArray[np.float32]
    truth: dict[str, npt.NDArray[np.float32]]


def load(source: tuple[str, str | None]) -> Loaded:
    name, onnx_file = source
    folder = FIXTURES / name
    texts = json.loads((folder / "golden_texts.json").read_text(encoding="utf-8"))
    with np.load(folder / "golden.npz") as stored:
        truth = {key: stored[key] for key in stored.files}
    model = Embedder(folder, onnx_file=onnx_file)
    assert model.model_info().source in ((onnx_file,) if onnx_file else WEIGHTS)
    return Loaded(model, texts, model.encode(texts), truth)


def name_of(source: tuple[str, str | None]) -> str:
    return f"{source[0]}-{source[1] or 'weights'}"


@pytest.fixture(scope="module", params=SOURCES, ids=name_of)
def loaded(request: pytest.FixtureRequest) -> Loaded:
    return load(request.param)


@pytest.fixture(scope="module", params=[source for source in SOURCES if source != NOT_STEADY], ids=name_of)
def steady(request: pytest.FixtureRequest) -> Loaded:
    """A model whose vectors of a text are the same bits in any company."""
    return load(request.param)


def test_fixture_has_sentence_transformers_vectors(loaded: Loaded) -> None:
    assert_close(loaded.vectors, loaded.truth["embeddings"])


def test_fixture_has_sentence_transformers_vectors_with_every_prompt(loaded: Loaded) -> None:
    prompts = loaded.model.prompts
    stored = {key.removeprefix("prompt_") for key in loaded.truth if key.startswith("prompt_")}
    named = {name for name, text in prompts.items() if text}
    assert stored <= named
    assert bool(stored) == bool(named)
    for name in stored:
        truth = loaded.truth[f"prompt_{name}"]
        texts = loaded.texts[: len(truth)]
        assert_close(loaded.model.encode(texts, prompt_name=name), truth, name)
        assert_close(loaded.model.encode(texts, prompt=prompts[name]), truth, name)
        if name in ("query", "document"):
            encode = loaded.model.encode_query if name == "query" else loaded.model.encode_document
            assert_close(encode(texts), truth, name)


def test_a_text_alone_has_the_same_bits(steady: Loaded) -> None:
    alone = np.stack([steady.model.encode(text) for text in steady.texts])
    assert same_bits(alone, steady.vectors)


def test_a_text_in_any_order_and_company_has_the_same_bits(steady: Loaded) -> None:
    for seed in range(3):
        order = np.random.RandomState(seed).permutation(len(steady.texts))
        shuffled = steady.model.encode([steady.texts[index] for index in order])
        assert same_bits(shuffled, steady.vectors[order]), seed
    for size in (2, 3, 7, 31):
        parts = [steady.model.encode(steady.texts[start : start + size]) for start in range(0, 60, size)]
        assert same_bits(np.concatenate(parts), steady.vectors), size


def test_a_duplicated_text_has_the_same_bits(steady: Loaded) -> None:
    assert same_bits(steady.model.encode(steady.texts * 3), np.tile(steady.vectors, (3, 1)))
    assert same_bits(steady.model.encode([steady.texts[0]] * 100), np.tile(steady.vectors[:1], (100, 1)))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_does_not_change_a_bit(steady: Loaded, threads: int) -> None:
    info = steady.model.model_info()
    onnx_file = None if info.source in WEIGHTS else info.source
    model = Embedder(info.path, threads=threads, onnx_file=onnx_file)
    assert same_bits(model.encode(steady.texts), steady.vectors)
    assert same_bits(np.stack([model.encode(text) for text in steady.texts[:10]]), steady.vectors[:10])


def test_the_embedded_model_has_sentence_transformers_vectors() -> None:
    texts = json.loads((MINILM / "texts.json").read_text(encoding="utf-8"))
    with np.load(MINILM / "vectors.npz") as stored:
        truth = stored["embeddings"].astype(np.float64)
    vectors = Embedder().encode(texts).astype(np.float64)
    assert vectors.shape == truth.shape == (64, 384)
    cosines = (vectors * truth).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(truth, axis=1)
    assert cosines.min() >= 0.99999


# ---- Every setting the factory knows --------------------------------------------------------------------------------

# What oxembed says no to, and the key it must name; any other case has to match.
REFUSED = {
    "decoder": "is_decoder",
}
# Settings that the code of a family has and few models use, or that config.json leaves out, each with the key to name
# where it is refused. A vector is right or there is none.
RIGHT_OR_REFUSED = {
    "llama_proportional": "proportional",
    "qwen2_longrope": "longrope",
    "qwen3_longrope_factor": "longrope",
    "nomic_left_out": "qkv_proj_bias",
    "nomic_within_the_trained_length": "rotary_scaling_factor",
    "nomic_part": "rotary_emb_fraction",
    "nomic_interleaved": "rotary_emb_interleaved",
    "nomic_positions": "rotary_emb_fraction",
    "nomic_glu": "activation_function",
    "nomic_geglu": "activation_function",
    "nomic_gelu": "activation_function",
    "nomic_gelu_new_is_gelu": "activation_function",
    "new_left_out": "type_vocab_size",
    "new_ntk_mixed": "mixed_b",
    "new_unpacked": "pack_qkv",
    "new_rms_norm": "layer_norm_type",
    "new_logn": "logn_attention_scale",
    "new_logn_clip": "logn_attention",
    "new_positions": "position_embedding_type",
}


def refusal_of(folder: Path) -> str | None:
    try:
        Embedder(folder)
    except InvalidModelError as error:
        return str(error)
    return None


def check_case(case: golden.Case, truth: Floats, folder: Path) -> None:
    """A factory model's stored vectors, in a batch; and the same bits alone."""
    model = Embedder(folder)
    vectors = model.encode(golden.TEXTS, prompt=case.prompt, prompt_name=case.prompt_name)
    assert_close(vectors, truth)
    alone = [model.encode(text, prompt=case.prompt, prompt_name=case.prompt_name) for text in golden.TEXTS]
    assert same_bits(np.stack(alone), vectors)


@pytest.mark.parametrize("name", sorted(golden.CASES))
def test_factory_model_has_sentence_transformers_vectors(name: str, tmp_path: Path) -> None:
    case = golden.CASES[name]
    folder = case.make(tmp_path / "model")
    if name in REFUSED:
        with pytest.raises(InvalidModelError, match=REFUSED[name]):
            Embedder(folder)
        return
    check_case(case, golden.load()[name], folder)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *(("golden_rotary.npz", name) for name in golden.ROTARY_CASES),
        *(("golden_hub.npz", name) for name in golden.HUB_CASES),
    ],
)
def test_rotary_model_has_its_own_codes_vectors(file: str, name: str, tmp_path: Path) -> None:
    case = {**golden.ROTARY_CASES, **golden.HUB_CASES}[name]
    folder = case.make(tmp_path / "model")
    refusal = refusal_of(folder)
    if refusal is not None and name in RIGHT_OR_REFUSED:
        assert RIGHT_OR_REFUSED[name] in refusal
        return
    check_case(case, golden.load(file)[name], folder)


def check(folder: Path, texts: Sequence[str] = tuple(golden.TEXTS), **options: Any) -> None:
    """Vectors of oxembed and the reference, in a batch and alone."""
    model, truth = Embedder(folder), SentenceTransformer(folder)
    for text in texts:
        assert model.tokenize(text)["input_ids"][0].tolist() == truth.tokenize(text), text
    vectors = model.encode(texts, **options)
    expected = truth.encode(
        texts,
        options.get("prompt"),
        options.get("prompt_name"),
        normalize_embeddings=bool(options.get("normalize_embeddings")),
        truncate_dim=options.get("truncate_dim"),
    )
    assert_close(vectors, expected)
    assert same_bits(np.stack([model.encode(text, **options) for text in texts]), vectors)


@pytest.mark.parametrize("form", ["old", "v6"])
@pytest.mark.parametrize("family", FAMILIES)
def test_both_forms_of_the_folder(family: Family, form: Any, tmp_path: Path) -> None:
    check(make_model(tmp_path, family, seed=21, modules_form=form))


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("mode", POOLING_MODES)
@pytest.mark.parametrize("form", ["old", "v6"])
def test_every_pooling_with_a_prompt(mode: str, include_prompt: bool, form: Any, tmp_path: Path) -> None:
    folder = make_model(
        tmp_path, "bert", seed=22, pooling=mode, include_prompt=include_prompt, normalize=False, modules_form=form
    )
    check(folder, prompt="search for this: ")


@pytest.mark.parametrize("form", ["old", "v6"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [None, *DENSE_ACTIVATIONS])
def test_every_activation_of_dense(activation: str | None, bias: bool, form: Any, tmp_path: Path) -> None:
    dense = [(24, bias, activation), (32, not bias, activation)]
    check(make_model(tmp_path, "distilbert", seed=23, dense=dense, normalize=False, modules_form=form))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("truncate_dim", [None, 1, 7, 48, 1000])
@pytest.mark.parametrize("normalize_embeddings", [None, True])
def test_truncation_and_normalization(
    normalize: bool, truncate_dim: int | None, normalize_embeddings: bool | None, tmp_path: Path
) -> None:
    folder = make_model(tmp_path, "roberta", seed=24, normalize=normalize)
    check(folder, truncate_dim=truncate_dim, normalize_embeddings=normalize_embeddings)
    if truncate_dim is not None:
        told = Embedder(folder, truncate_dim=truncate_dim)
        assert told.dimension == min(truncate_dim, 48)
        asked = Embedder(folder).encode(golden.TEXTS, truncate_dim=truncate_dim)
        assert same_bits(told.encode(golden.TEXTS), asked)


@pytest.mark.parametrize(
    ("prefix", "dtype"),
    [
        ("", "float16"),
        ("", "bfloat16"),
        ("bert.", "float32"),
        ("roberta.", "bfloat16"),
        ("distilbert.", "float32"),
        ("mpnet.", "float16"),
        ("model.", "float32"),
    ],
)
@pytest.mark.parametrize("family", BERT_FAMILIES)
def test_every_prefix_and_number_format(family: Family, prefix: str, dtype: str, tmp_path: Path) -> None:
    names = family == "bert" and not prefix.startswith("m")
    check(make_model(tmp_path, family, seed=25, prefix=prefix, dtype=dtype, tensorflow_names=names))


@pytest.mark.parametrize(
    ("family", "declared"),
    [
        ("bert", {"tokenizer_class": "BertTokenizer"}),
        ("bert", {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True}),
        ("bert", {"tokenizer_class": "BertTokenizerFast", "tokenize_chinese_chars": False}),
        ("bert", {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}),
        ("bert", {"tokenizer_class": None, "do_lower_case": False}),  # the family's class, as none is named
        ("bert", {"split_special_tokens": True}),
        ("distilbert", {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}),
        ("roberta", {"tokenizer_class": "RobertaTokenizerFast", "add_prefix_space": True}),
        ("roberta", {"tokenizer_class": "RobertaTokenizer"}),
        ("roberta", {"tokenizer_class": None, "add_prefix_space": True}),
        ("mpnet", {"truncation_side": "left"}),
        ("xlm-roberta", {"truncation_side": "left", "padding_side": "left"}),
        ("bert", {"padding_side": "left"}),
    ],
    ids=str,
)
def test_tokenizer_settings(family: Family, declared: dict[str, Any], tmp_path: Path) -> None:
    check(make_model(tmp_path, family, seed=26, tokenizer_config=declared))


def test_the_class_that_config_json_names(tmp_path: Path) -> None:
    declared = {"tokenizer_class": None, "do_lower_case": False}
    check(make_model(tmp_path, "bert", seed=26, config={"tokenizer_class": "BertTokenizer"}, tokenizer_config=declared))


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_no_tokenizer_config(family: Family, tmp_path: Path) -> None:
    """Without the file, transformers takes the family's class and its defaults."""
    folder = make_model(tmp_path, family, seed=26)
    (folder / "tokenizer_config.json").unlink()
    check(folder)


@pytest.mark.parametrize("class_name", ["TokenizersBackend", "BertTokenizer"])
@pytest.mark.parametrize("names", [None, ["input_ids", "token_type_ids", "attention_mask"]], ids=["no names", "names"])
def test_token_types_of_a_template(names: list[str] | None, class_name: str, tmp_path: Path) -> None:
    """Types from tokenizer.json count only where the model is given them and no class makes a template of its own."""
    declared = {"tokenizer_class": class_name, "model_input_names": names}
    folder = make_model(tmp_path, "bert", seed=27, tokenizer_config=declared)
    path = folder / "tokenizer.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    ids = {name: stored["model"]["vocab"][name] for name in ("[CLS]", "[SEP]")}
    stored["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 1}},
            {"SpecialToken": {"id": "[SEP]", "type_id": 1}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]} for name, number in ids.items()},
    }
    path.write_text(json.dumps(stored), encoding="utf-8")
    check(folder)


def test_stored_padding_and_truncation_are_ignored(tmp_path: Path) -> None:
    folder = make_model(tmp_path, "bert", seed=28)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding(length=50)
    tokenizer.save(str(folder / "tokenizer.json"))
    check(folder)


@pytest.mark.parametrize("pad_token_id", [0, 1, 5])
@pytest.mark.parametrize("family", [*BERT_FAMILIES, "modernbert", "qwen3"])
def test_padding_tokens_written_in_a_text(family: Family, pad_token_id: int, tmp_path: Path) -> None:
    texts = ["<pad>", "[PAD]", "a <pad> b", "<pad><pad> <pad>", "[PAD] a [PAD] b [PAD]", "a b c d e f", ""]
    check(make_model(tmp_path, family, seed=29, pad_token_id=pad_token_id), texts)


def test_a_text_is_not_stripped_and_nothing_is_unified(tmp_path: Path) -> None:
    folder = make_model(tmp_path, "roberta", seed=30)
    check(folder, [" a", "a", "a ", "\ta\n", "é", "e\u0301", "\u00a0", "a\0b", "\u200b", "🙂🙂", "ﬁ"])


def test_a_module_may_stand_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """sentence-transformers 2 wrote the transformer to 0_Transformer."""
    folder = make_model(tmp_path / "model", "mpnet", seed=31)
    inner = folder / "0_Transformer"
    inner.mkdir()
    for path in list(folder.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(inner / path.name)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    check(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_without_modules_json_says_what_was_assumed(family: Family, tmp_path: Path) -> None:
    folder = make_model(tmp_path, family, seed=32, pooling="cls", max_seq_length=None)
    (folder / "modules.json").unlink()
    (folder / "sentence_bert_config.json").unlink()
    model, transformer = Embedder(folder), Transformer(folder)
    texts = ["Hello, world!", "", "Java bytecode"]
    truth = np.stack([transformer(text).mean(axis=0) for text in texts])
    assert_close(model.encode(texts), truth)
    info = model.model_info()
    assert info.pooling == ("mean",)
    assert any("modules.json" in sentence and "mean" in sentence for sentence in info.assumptions)


def test_a_whole_folder_assumes_nothing(tmp_path: Path) -> None:
    assert Embedder(make_model(tmp_path, "bert", seed=33)).model_info().assumptions == ()


# ---- Settings drawn at random ---------------------------------------------------------------------------------------

ACTIVATIONS = ("gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "quick_gelu")
TOKENIZER_CLASSES: dict[str, list[dict[str, Any]]] = {
    "bert": [{}, {"tokenizer_class": "BertTokenizer", "do_lower_case": False}],
    "distilbert": [{}, {"tokenizer_class": "DistilBertTokenizerFast", "strip_accents": False}],
    "roberta": [{}, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}],
    "xlm-roberta": [{}, {"truncation_side": "left"}],
    "mpnet": [{}, {"truncation_side": "left"}],
}


@st.composite
def any_model(draw: st.DrawFn) -> tuple[Family, dict[str, Any]]:
    """Widths are such that no single rounding decides over a whole vector."""
    family = draw(st.sampled_from(BERT_FAMILIES))
    heads = draw(st.integers(1, 6))
    form = draw(st.sampled_from(["old", "v6"]))
    modes = draw(st.lists(st.sampled_from(POOLING_MODES), min_size=1, max_size=6, unique=True))
    activation = st.sampled_from([None, *DENSE_ACTIVATIONS])
    model: dict[str, Any] = {
        "seed": draw(st.integers(0, 2**31)),
        "num_attention_heads": heads,
        "hidden_size": heads * draw(st.integers(-(-16 // heads), 20)),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "intermediate_size": draw(st.integers(8, 90)),
        "hidden_act": draw(st.sampled_from([*ACTIVATIONS, "relu", "silu", "swish", "tanh"])),
        "pad_token_id": draw(st.sampled_from([None, 0, 1, 3])),
        "pooling": modes if form == "v6" else [mode for mode in POOLING_MODES if mode in modes],
        "include_prompt": draw(st.booleans()),
        "dense": draw(st.lists(st.tuples(st.integers(16, 40), st.booleans(), activation), max_size=2)),
        "normalize": draw(st.booleans()),
        "dtype": draw(st.sampled_from(["float32", "float16", "bfloat16"])),
        "prefix": draw(st.sampled_from(["", "bert.", "model."])),
        "tensorflow_names": draw(st.booleans()),
        "max_seq_length": draw(st.integers(3, 70)),
        "do_lower_case": draw(st.booleans()),
        "modules_form": form,
        "tokenizer_config": draw(st.sampled_from(TOKENIZER_CLASSES[family])),
    }
    if family != "distilbert":
        model["layer_norm_eps"] = draw(st.sampled_from([1e-12, 1e-7, 1e-5, 1e-2]))
    if family == "mpnet":
        # MPNet counts positions from 1 whatever the padding id; a table sized for 0 would be a row short.
        model["pad_token_id"] = model["pad_token_id"] or None
        model["relative_attention_num_buckets"] = draw(st.integers(32, 40))
    elif family != "distilbert":
        model["type_vocab_size"] = draw(st.integers(1, 4))
    return family, model


def is_steady_in_float32(folder: Path, texts: Sequence[str], prompt: str | None) -> bool:
    """Whether float32 arithmetic stays well within the tolerance: some random models blow every rounding up."""
    double, single = (SentenceTransformer(folder, kind).encode(texts, prompt) for kind in (np.float64, np.float32))
    scale = np.maximum(1.0, np.abs(double).max(axis=1, keepdims=True))
    return bool((np.abs(double / scale - single / scale) <= 0.3 * TOLERANCE).all())


@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=any_model(),
    texts=st.lists(st.sampled_from(golden.TEXTS) | st.text(max_size=40), min_size=1, max_size=4),
    prompt=st.sampled_from([None, "", "query: ", "a prompt "]),
    normalize_embeddings=st.sampled_from([None, True]),
    truncate_dim=st.none() | st.integers(16, 50),
)
def test_any_model_matches_the_reference(
    made: tuple[Family, dict[str, Any]],
    texts: list[str],
    prompt: str | None,
    normalize_embeddings: bool | None,
    truncate_dim: int | None,
) -> None:
    family, model = made
    with tempfile.TemporaryDirectory() as folder:
        path = make_model(Path(folder) / "model", family, **model)
        assume(is_steady_in_float32(path, texts, prompt))
        options = {"normalize_embeddings": normalize_embeddings, "truncate_dim": truncate_dim}
        check(path, texts, prompt=prompt, **options)


@settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    made=rotary_models(),
    texts=st.lists(st.sampled_from(golden.TEXTS) | st.text(max_size=40), min_size=1, max_size=4),
    prompt=st.sampled_from([None, "", "query: "]),
)
def test_any_rotary_model_matches_the_reference(
    made: tuple[Family, dict[str, Any]], texts: list[str], prompt: str | None
) -> None:
    family, model = made
    with tempfile.TemporaryDirectory() as folder:
        path = make_model(Path(folder) / "model", family, **model)
        assume(is_steady_in_float32(path, texts, prompt))
        check(path, texts, prompt=prompt)


# ---- ONNX files -----------------------------------------------------------------------------------------------------

ONNX_TEXTS = ["Hello, world!", "", "one two three four five six seven", "naïve ÀCCENTS 日本語", "Hello, world! Hello"]
WIDTH = 16


@dataclass(frozen=True)
class Graph:
    """A graph with one table for each input; every token also gets the mean of its text, which takes the mask."""

    token_types: bool = False
    positions: bool = False
    mask: bool = True
    integers: int = TensorProto.INT64
    output: str = "last_hidden_state"
    floats: int = TensorProto.FLOAT
    sentence: bool = False
    second_output: str | None = None
    dynamic_width: bool = False
    external: bool = False
    names: tuple[str, str, str, str] = ("input_ids", "attention_mask", "token_type_ids", "position_ids")

    def tables(self, vocabulary: int) -> dict[str, npt.NDArray[np.float32]]:
        state = np.random.RandomState(5)
        sizes = {"words": vocabulary, "types": 2, "places": 64}
        return {name: state.standard_normal((size, WIDTH)).astype(np.float32) for name, size in sizes.items()}

    def tokens(self, ids: Sequence[int]) -> npt.NDArray[np.float64]:
        """The truth in numpy: the tokens of one text, without padding."""
        tables = self.tables(len_of_vocabulary())
        hidden = tables["words"][list(ids)].astype(np.float64)
        if self.token_types:
            hidden = hidden + tables["types"][0]
        if self.positions:
            hidden = hidden + tables["places"][: len(ids)]
        if self.mask:
            hidden = hidden + hidden.mean(axis=0)
        return hidden

    def write(self, path: Path) -> None:
        ids, mask, types, places = self.names
        nodes = [helper.make_node("Gather", ["words", ids], ["h0"])]
        inputs, hidden = [ids], "h0"
        for name, table, present in ((types, "types", self.token_types), (places, "places", self.positions)):
            if present:
                looked_up, total = f"{table}_rows", f"{hidden}_{table}"
                nodes.append(helper.make_node("Gather", [table, name], [looked_up]))
                nodes.append(helper.make_node("Add", [hidden, looked_up], [total]))
                inputs.append(name)
                hidden = total
        if self.mask or self.sentence:
            inputs.append(mask)
            nodes += [
                helper.make_node("Cast", [mask], ["mask_float"], to=TensorProto.FLOAT),
                helper.make_node("Unsqueeze", ["mask_float", "last_axis"], ["mask_3d"]),
            ]
        if self.mask:
            nodes += mean(hidden, "context", keep=1)
            nodes.append(helper.make_node("Add", [hidden, "context"], ["mixed"]))
            hidden = "mixed"
        token_shape = ["batch", "sequence", None if self.dynamic_width else WIDTH]
        outputs = []
        if self.second_output is not None:
            nodes += mean(hidden, "second_float", keep=0)
            nodes.append(helper.make_node("Neg", ["second_float"], [self.second_output]))
            outputs.append(helper.make_tensor_value_info(self.second_output, TensorProto.FLOAT, ["batch", WIDTH]))
        if self.sentence:
            nodes += mean(hidden, "pooled", keep=0)
            hidden, token_shape = "pooled", ["batch", None if self.dynamic_width else WIDTH]
        nodes.append(helper.make_node("Cast", [hidden], [self.output], to=self.floats))
        outputs.append(helper.make_tensor_value_info(self.output, self.floats, token_shape))
        tensors = [numpy_helper.from_array(table, name) for name, table in self.tables(len_of_vocabulary()).items()]
        for name, value in (("last_axis", [2]), ("sequence_axis", [1])):
            tensors.append(numpy_helper.from_array(np.array(value, dtype=np.int64), name))
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            nodes,
            "by hand",
            [helper.make_tensor_value_info(name, self.integers, ["batch", "sequence"]) for name in inputs],
            outputs,
            [tensor for tensor in tensors if tensor.name in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.external:  # the tables; small constants stay inside, as exporters do it
            onnx.save_model(model, path, save_as_external_data=True, location="model.onnx_data")
        else:
            onnx.save_model(model, path)


def mean(hidden: str, result: str, *, keep: int) -> list[onnx.NodeProto]:
    """The mean over the tokens that are not padding."""
    return [
        helper.make_node("Mul", [hidden, "mask_3d"], [f"{result}_masked"]),
        helper.make_node("ReduceSum", [f"{result}_masked", "sequence_axis"], [f"{result}_sum"], keepdims=keep),
        helper.make_node("ReduceSum", ["mask_3d", "sequence_axis"], [f"{result}_count"], keepdims=keep),
        helper.make_node("Div", [f"{result}_sum", f"{result}_count"], [result]),
    ]


def len_of_vocabulary() -> int:
    return int(tokenizers.Tokenizer.from_file(str(FIXTURES / "bert-cls" / "tokenizer.json")).get_vocab_size())


def onnx_folder(folder: Path, graph: Graph, *, file: str = "onnx/model.onnx", **made: Any) -> Path:
    """A BERT folder of the factory, its weights replaced by the graph."""
    arguments: dict[str, Any] = {"seed": 41, "hidden_size": WIDTH, "max_seq_length": 64, **made}
    make_model(folder, "bert", **arguments)
    (folder / "model.safetensors").unlink()
    graph.write(folder / file)
    return folder


def onnx_truth(graph: Graph, texts: Sequence[str], *, normalize: bool = True) -> npt.NDArray[np.float64]:
    tokenizer = tokenizers.Tokenizer.from_file(str(FIXTURES / "bert-cls" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pooled = np.stack([graph.tokens(tokenizer.encode(text).ids).mean(axis=0) for text in texts])
    return pooled / np.linalg.norm(pooled, axis=1, keepdims=True) if normalize else pooled


@pytest.mark.parametrize(
    "graph",
    [
        Graph(),
        Graph(mask=False),
        Graph(token_types=True),
        Graph(positions=True),
        Graph(token_types=True, positions=True),
        Graph(token_types=True, positions=True, integers=TensorProto.INT32),
        Graph(output="token_embeddings"),
        Graph(output="token_embeddings", second_output="sentence_embedding"),
        Graph(output="last_hidden_state", second_output="pooler_output"),
        Graph(output="output_0"),
        Graph(output="1234", second_output="pooler_output"),
        Graph(output="sentence_embedding", sentence=True),
        Graph(output="embedding of the text", sentence=True),
        Graph(output="sentence_embedding", sentence=True, dynamic_width=True),
        Graph(dynamic_width=True),
        Graph(external=True),
        Graph(external=True, token_types=True, positions=True, integers=TensorProto.INT32, output="x"),
        Graph(names=("input", "input_mask", "segment_ids", "positions"), token_types=True, positions=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("normalize", [True, False])
def test_onnx_graph(graph: Graph, normalize: bool, tmp_path: Path) -> None:
    model = Embedder(onnx_folder(tmp_path, graph, normalize=normalize))
    assert model.model_info().source == "onnx/model.onnx"
    vectors = model.encode(ONNX_TEXTS)
    truth = onnx_truth(graph, ONNX_TEXTS, normalize=normalize)
    assert_close(vectors, truth)
    # Not the same bits: the sums of this graph run over the padding too, in an order that depends on its length.
    assert_close(np.stack([model.encode(text) for text in ONNX_TEXTS]), truth)


@pytest.mark.parametrize("sentence", [True, False])
def test_onnx_graph_with_fp16_output(sentence: bool, tmp_path: Path) -> None:
    graph = Graph(floats=TensorProto.FLOAT16, sentence=sentence, output="sentence_embedding" if sentence else "out")
    model = Embedder(onnx_folder(tmp_path, graph, normalize=False))
    vectors = model.encode(ONNX_TEXTS)
    truth = onnx_truth(graph, ONNX_TEXTS, normalize=False)
    assert vectors.dtype == np.float32
    # The graph rounds to 11 bits. What it gives is then taken exactly: a pooled row is made of fp16 numbers.
    assert np.abs(vectors - truth).max() <= 2**-11 * max(1.0, np.abs(truth).max() * 2)
    if sentence:
        assert np.array_equal(vectors.astype(np.float16).astype(np.float32), vectors)


@pytest.mark.parametrize("file", ["model.onnx", "onnx/model.onnx", "onnx/model_O2.onnx", "other/encoder.onnx"])
def test_onnx_file_by_name_goes_before_the_weights(file: str, tmp_path: Path) -> None:
    graph = Graph(token_types=True)
    folder = make_model(tmp_path, "bert", seed=42, hidden_size=WIDTH)
    plain = Embedder(folder).encode(ONNX_TEXTS)
    graph.write(folder / file)
    assert same_bits(Embedder(folder).encode(ONNX_TEXTS), plain)  # the weights win
    model = Embedder(folder, onnx_file=file)
    assert model.model_info().source == file
    assert_close(model.encode(ONNX_TEXTS), onnx_truth(graph, ONNX_TEXTS))


@pytest.mark.parametrize("config", [{"model_type": "something-new"}, {"hidden_act": "never heard of"}], ids=str)
def test_onnx_file_of_an_unknown_family_or_setting(config: dict[str, Any], tmp_path: Path) -> None:
    graph = Graph(positions=True)
    model = Embedder(onnx_folder(tmp_path, graph, file="model.onnx", config=config))
    assert_close(model.encode(ONNX_TEXTS), onnx_truth(graph, ONNX_TEXTS))


def test_onnx_file_without_config_json(tmp_path: Path) -> None:
    graph = Graph(token_types=True)
    folder = onnx_folder(tmp_path, graph)
    (folder / "config.json").unlink()
    assert_close(Embedder(folder).encode(ONNX_TEXTS), onnx_truth(graph, ONNX_TEXTS))


@pytest.mark.parametrize("pooling", POOLING_MODES)
def test_onnx_tokens_are_pooled_as_the_folder_says(pooling: str, tmp_path: Path) -> None:
    definitions: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
        "cls": lambda tokens: tokens[0],
        "max": lambda tokens: tokens.max(axis=0),
        "mean": lambda tokens: tokens.mean(axis=0),
        "mean_sqrt_len_tokens": lambda tokens: tokens.sum(axis=0) / np.sqrt(len(tokens)),
        "weightedmean": lambda tokens: np.average(tokens, axis=0, weights=np.arange(1, len(tokens) + 1)),
        "lasttoken": lambda tokens: tokens[-1],
    }
    graph = Graph(token_types=True, positions=True)
    model = Embedder(onnx_folder(tmp_path, graph, pooling=pooling, normalize=False, modules_form="v6"))
    ids = [model.tokenize(text)["input_ids"][0].tolist() for text in ONNX_TEXTS]
    truth = np.stack([definitions[pooling](graph.tokens(row)) for row in ids])
    assert_close(model.encode(ONNX_TEXTS), truth)
