"""The reference itself, without oxembed.

It is held to the fixtures' golden vectors, to the vectors of the real library and of the Hub's own code for factory
models (golden_*.npz), and to what must hold for any model.
"""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference import decoder, gemma3, golden, gte, layers, mpnet, rope
from reference.bert import position_ids
from reference.factory import FAMILIES, FIXTURES, GOLDEN_FIXTURES, ROTARY_FAMILIES, Family, make_model
from reference.postprocess import POOLING_MODES, Pooling, normalize, pool
from reference.sentence_transformer import SentenceTransformer
from reference.weights import read_model, read_safetensors, write_safetensors

# The largest difference measured: 1.04e-06 (qwen3-sharded-bf16). The golden vectors are float32.
FIXTURE_TOLERANCE = 2e-6
# The largest difference measured: 1.7e-14, at vectors with entries up to 20. These golden vectors are float64.
FACTORY_TOLERANCE = 1e-12
# The largest difference measured: 5.4e-07 (llama_v4), for numbers up to 1. Cosines, sines and RMSNorm are float32 in
# transformers whatever the rest is.
ROTARY_TOLERANCE = 2e-6

TEXTS = ["Hello, world!", "", "Java bytecode manipulation library", "word " * 100]


def encode(folder: Path, texts: Sequence[str] = TEXTS, **arguments: Any) -> npt.NDArray[np.float64]:
    return SentenceTransformer(folder).encode_exactly(texts, **arguments)


def apart(a: npt.NDArray[np.floating[Any]], b: npt.NDArray[np.floating[Any]]) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max())


@pytest.mark.parametrize("name", GOLDEN_FIXTURES)
def test_fixture_matches_sentence_transformers(name: str) -> None:
    folder = FIXTURES / name
    texts = json.loads((folder / "golden_texts.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(folder)
    with np.load(folder / "golden.npz") as stored:
        vectors = model.encode(texts)
        assert vectors.dtype == np.float32
        assert apart(vectors, stored["embeddings"]) <= FIXTURE_TOLERANCE
        prompts = [key.removeprefix("prompt_") for key in stored.files if key.startswith("prompt_")]
        named = {prompt for prompt, text in model.prompts.items() if text}
        assert set(prompts) <= named
        assert bool(prompts) == bool(named)
        for prompt in prompts:
            assert apart(model.encode(texts[:8], prompt_name=prompt), stored[f"prompt_{prompt}"]) <= FIXTURE_TOLERANCE


@pytest.mark.parametrize("name", golden.CASES)
def test_factory_model_matches_sentence_transformers(name: str, tmp_path: Path) -> None:
    case = golden.CASES[name]
    vectors = encode(case.make(tmp_path), golden.TEXTS, prompt=case.prompt, prompt_name=case.prompt_name)
    assert apart(vectors, golden.load()[name]) <= FACTORY_TOLERANCE


@pytest.mark.parametrize(
    ("file", "name"),
    [
        *(("golden_rotary.npz", name) for name in golden.ROTARY_CASES),
        *(("golden_hub.npz", name) for name in golden.HUB_CASES),
    ],
)
def test_rotary_model_matches(file: str, name: str, tmp_path: Path) -> None:
    case = {**golden.ROTARY_CASES, **golden.HUB_CASES}[name]
    vectors = encode(case.make(tmp_path), golden.TEXTS, prompt=case.prompt, prompt_name=case.prompt_name)
    truth = golden.load(file)[name]
    scale = np.maximum(1.0, np.abs(truth).max(axis=1, keepdims=True))
    assert apart(vectors / scale, truth / scale) <= ROTARY_TOLERANCE


# What the settings of two cases differ in has no effect.
ALIKE = (
    {"llama_llama3", "llama_llama3_v4"},
    {"llama_partial_is_ignored", "mistral_no_window"},  # both are the plain model of their family
    {"gemma3_text_v4", "gemma3_text_v5"},
    {"gemma3_text_v4", "gemma3_text_softcap_is_ignored"},
    {"gemma3_text_v5", "gemma3_text_softcap_is_ignored"},
    {"nomic_plain", "nomic_within_the_trained_length"},
    {"new_plain", "new_ntk_1"},
)


def test_every_stored_case_tells_something() -> None:
    """No two models of a family have the same vectors but those whose difference is said to be none."""
    for file in ("golden_rotary.npz", "golden_hub.npz"):
        stored = golden.load(file)
        found = {
            frozenset({first, second})
            for number, first in enumerate(stored)
            for second in list(stored)[:number]
            if stored[first].shape == stored[second].shape and apart(stored[first], stored[second]) < 1e-4
        }
        assert found == {frozenset(pair) for pair in ALIKE if pair <= set(stored)}


@pytest.mark.parametrize("mode", POOLING_MODES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_and_pooling_gives_telling_vectors(family: Family, mode: str, tmp_path: Path) -> None:
    vectors = encode(make_model(tmp_path, family, seed=5, pooling=mode))
    assert np.isfinite(vectors).all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-12)
    similarity = vectors @ vectors.T - np.eye(len(TEXTS))
    assert similarity.max() < 0.98  # different texts stay apart
    assert np.abs(vectors).max() < 0.9  # and no dimension holds it all


@pytest.mark.parametrize(
    "setting",
    [
        {"seed": 6},
        {"num_attention_heads": 2},
        {"hidden_act": "relu"},
        {"hidden_act": "gelu_new"},
        {"layer_norm_eps": 1e-3},
        {"pooling": "cls"},
        {"normalize": False},
        {"dtype": "float16"},
        {"dtype": "bfloat16"},
        {"max_seq_length": 20},
        {"config": {"is_decoder": True}},
        {"prompts": {"it": "it: "}, "default_prompt_name": "it"},
        {"tokenizer_config": {"tokenizer_class": "BertTokenizer", "do_lower_case": False}},
    ],
    ids=str,
)
def test_setting_changes_the_vectors(setting: dict[str, Any], tmp_path: Path) -> None:
    plain = encode(make_model(tmp_path / "plain", "bert", seed=5))
    assert apart(encode(make_model(tmp_path / "changed", "bert", **{"seed": 5, **setting})), plain) > 1e-6


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"modules_form": "v6"},
        {"prefix": "bert."},
        {"prefix": "model."},
        {"tensorflow_names": True},
        {"shards": 4},
        {"do_lower_case": True},  # the tokenizer lower-cases anyway
        {"tokenizer_config": {"tokenizer_class": "BertTokenizer"}},
        {"tokenizer_config": {"model_max_length": 3}},  # max_seq_length goes before it
        {"include_prompt": False},  # without a prompt
    ],
    ids=str,
)
def test_setting_keeps_the_vectors(setting: dict[str, Any], tmp_path: Path) -> None:
    plain = encode(make_model(tmp_path / "plain", "bert", seed=5))
    assert apart(encode(make_model(tmp_path / "changed", "bert", seed=5, **setting)), plain) == 0.0


def test_erf_is_exact() -> None:
    x = np.linspace(-6.0, 6.0, 241)
    assert apart(layers.erf(x), np.array([math.erf(value) for value in x])) == 0.0
    assert layers.erf(np.array([0.5]))[0] == pytest.approx(0.5204998778130465, abs=1e-16)


def test_activations_at_one() -> None:
    at_one = {name: float(function(np.ones(1))[0]) for name, function in layers.HIDDEN_ACTIVATIONS.items()}
    expected = {
        "gelu": 0.8413447460685429,
        "gelu_new": 0.8411919906082768,
        "gelu_fast": 0.8411919906,
        "quick_gelu": 1 / (1 + math.exp(-1.702)),
        "relu": 1.0,
        "silu": 1 / (1 + math.exp(-1)),
        "tanh": math.tanh(1),
        "sigmoid": 1 / (1 + math.exp(-1)),
        "linear": 1.0,
    }
    assert {name: at_one[name] for name in expected} == pytest.approx(expected, abs=1e-10)
    with pytest.raises(ValueError, match="xielu"):
        layers.hidden_activation("xielu")


def test_mpnet_buckets_begin_where_transformers_has_them() -> None:
    distances = np.arange(400)
    left, right = mpnet.relative_position_bucket(-distances), mpnet.relative_position_bucket(distances)
    starts = [int(np.argmax(left == bucket)) for bucket in range(16)]
    assert starts == [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]
    assert (right[1:] == left[1:] + 16).all()
    assert right[0] == 0


def test_roberta_positions_skip_a_padding_token_in_the_text(tmp_path: Path) -> None:
    """`<pad>` written in a text is the padding id: it gets its position and the count goes on without it."""
    assert position_ids(np.array([0, 9, 1, 9, 2]), pad_token_id=1).tolist() == [2, 3, 1, 4, 5]
    folder = make_model(tmp_path, "roberta", seed=5)
    assert 1 in SentenceTransformer(folder).tokenize("one <pad> two")


def test_pooling_modes_by_hand() -> None:
    tokens = np.array([[1.0, 8.0], [3.0, 2.0], [5.0, -4.0], [7.0, 0.0]])
    by_hand = {
        "cls": ([1, 8], [5, -4]),
        "max": ([7, 8], [7, 0]),
        "mean": ([4, 1.5], [6, -2]),
        "mean_sqrt_len_tokens": ([8, 3], [12 / math.sqrt(2), -4 / math.sqrt(2)]),
        "weightedmean": ([5, 0], [43 / 7, -12 / 7]),
        "lasttoken": ([7, 0], [7, 0]),
    }
    for mode, (everything, after_two) in by_hand.items():
        assert pool(tokens, mode).tolist() == pytest.approx(everything)
        assert pool(tokens, mode, skipped=2).tolist() == pytest.approx(after_two)


def test_pooling_where_the_prompt_is_everything() -> None:
    tokens = np.array([[1.0, -2.0], [3.0, 4.0]])
    for mode in ("mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"):
        assert pool(tokens, mode, skipped=2).tolist() == [0.0, 0.0]
        assert normalize(pool(tokens, mode, skipped=2)).tolist() == [0.0, 0.0]
    assert pool(tokens, "cls", skipped=2).tolist() == [1.0, -2.0]
    assert pool(tokens, "max", skipped=2).tolist() == [-math.inf, -math.inf]


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({}, ["mean"]),
        ({"pooling_mode_mean_tokens": False}, ["mean"]),
        ({"pooling_mode_lasttoken": True, "pooling_mode_cls_token": True}, ["cls", "lasttoken"]),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ["max", "mean"]),
        ({"pooling_mode": "max"}, ["max"]),
        ({"pooling_mode": ["lasttoken", "cls"], "pooling_mode_mean_tokens": True}, ["lasttoken", "cls"]),
    ],
)
def test_pooling_config(config: dict[str, Any], modes: list[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"word_embedding_dimension": 2, **config}), encoding="utf-8")
    assert list(Pooling.load(tmp_path).modes) == modes


@pytest.mark.parametrize("form", ["old", "v6"])
def test_several_poolings_stand_side_by_side(form: Any, tmp_path: Path) -> None:
    made: dict[str, Any] = {"seed": 5, "normalize": False, "modules_form": form}
    together = encode(make_model(tmp_path / "all", "bert", pooling=POOLING_MODES, **made))
    apiece = [encode(make_model(tmp_path / mode, "bert", pooling=mode, **made)) for mode in POOLING_MODES]
    assert apart(together, np.concatenate(apiece, axis=1)) == 0.0


def test_prompt_left_out_of_the_pooling(tmp_path: Path) -> None:
    """The prompt still shapes the token vectors; its tokens, [CLS] among them, are not pooled."""
    made: dict[str, Any] = {"seed": 5, "normalize": False, "prompts": {"query": "query: "}}
    without = SentenceTransformer(make_model(tmp_path / "without", "bert", include_prompt=False, **made))
    within = SentenceTransformer(make_model(tmp_path / "within", "bert", **made))
    tokens = within.transformer("query: Hello")
    length = within.transformer.tokenizer.prompt_length("query: ")
    assert length == len(within.tokenize("query: ")) - 1  # all but [SEP]
    assert apart(without.encode_query(["Hello"])[0], tokens[length:].mean(axis=0).astype(np.float32)) == 0.0
    assert apart(within.encode_query(["Hello"])[0], tokens.mean(axis=0).astype(np.float32)) == 0.0


def test_which_prompt_is_used(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: ", "it": "it: "}
    model = SentenceTransformer(make_model(tmp_path, "bert", seed=5, prompts=prompts, default_prompt_name="it"))
    plain = model.encode(["Hello"], prompt="")
    assert apart(model.encode(["Hello"]), model.encode(["it: Hello"], prompt="")) == 0.0
    assert apart(model.encode(["Hello"], prompt_name="query"), model.encode(["query: Hello"], prompt="")) == 0.0
    assert apart(model.encode(["Hello"], "it: ", "query"), model.encode(["it: Hello"], prompt="")) == 0.0
    assert apart(model.encode_query(["Hello"]), model.encode(["query: Hello"], prompt="")) == 0.0
    # "document" always exists, so "passage" is not looked for, and neither default prompt applies.
    assert model.prompts["document"] == ""
    assert apart(model.encode_document(["Hello"]), plain) == 0.0
    with pytest.raises(ValueError, match="nope"):
        model.encode(["Hello"], prompt_name="nope")


def test_nothing_is_stripped(tmp_path: Path) -> None:
    model = SentenceTransformer(make_model(tmp_path, "roberta", seed=5))
    assert model.tokenize(" Hello ") != model.tokenize("Hello")


@pytest.mark.parametrize(
    ("made", "length"),
    [
        ({"max_seq_length": 20}, 20),
        ({"max_seq_length": 20, "tokenizer_config": {"model_max_length": 7}}, 20),
        ({"max_seq_length": 20, "modules_form": "v6"}, 20),
        ({"max_seq_length": None, "max_position_embeddings": 30}, 30),
        ({"max_seq_length": None, "tokenizer_config": {"model_max_length": 7}}, 7),
        ({"max_seq_length": None, "config": {"max_position_embeddings": -1}}, None),
        ({"max_seq_length": None, "config": {"max_position_embeddings": -1}, "modules_form": "v6"}, None),
    ],
    ids=str,
)
def test_max_seq_length(made: dict[str, Any], length: int | None, tmp_path: Path) -> None:
    model = SentenceTransformer(make_model(tmp_path, "bert", seed=5, **made))
    assert model.max_seq_length == length
    assert len(model.tokenize("word " * 100)) == (length or len(model.tokenize("word")) + 99)


def test_a_text_past_the_position_table_is_an_error(tmp_path: Path) -> None:
    """RoBERTa's first positions are not used, so `max_position_embeddings` tokens are already too many there."""
    folder = make_model(tmp_path, "roberta", seed=5, max_seq_length=None, max_position_embeddings=30)
    with pytest.raises(IndexError, match="position_embeddings has 30 rows"):
        encode(folder, ["word " * 100])


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "only absolute positions"),
        ("bert", {"hidden_act": "prelu"}, "prelu"),
        ("bert", {"num_attention_heads": 5}, "not a multiple"),
        ("mpnet", {"relative_attention_num_buckets": 16}, "under 32"),
        ("bert", {"model_type": "albert", "tokenizer_class": "X"}, "albert"),
    ],
)
def test_what_is_not_followed_is_an_error(family: Family, config: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        encode(make_model(tmp_path, family, seed=5, config=config))


def test_dense_layers(tmp_path: Path) -> None:
    made: dict[str, Any] = {"seed": 5, "normalize": False}
    pooled = encode(make_model(tmp_path / "plain", "bert", **made))
    folder = make_model(tmp_path / "dense", "bert", dense=[(16, True, None), (8, False, "Identity")], **made)
    first, second = (read_safetensors(folder / f"{number}_Dense" / "model.safetensors") for number in (2, 3))
    assert set(second) == {"linear.weight"}
    hidden = np.tanh(pooled @ first["linear.weight"].T + first["linear.bias"])
    assert apart(encode(folder), hidden @ second["linear.weight"].T) < 1e-14


def test_truncated_dimensions_come_before_normalization(tmp_path: Path) -> None:
    model = SentenceTransformer(make_model(tmp_path, "bert", seed=5))
    cut = model.encode(TEXTS, truncate_dim=10)
    assert cut.shape == (len(TEXTS), 10)
    assert np.linalg.norm(cut, axis=1).max() < 0.9
    assert apart(model.encode(TEXTS, truncate_dim=10, normalize_embeddings=True), normalize(cut.astype(float))) < 1e-7
    assert model.encode([]).shape == (0, 48)


# ---- Rotary positions and windows -----------------------------------------------------------------------------------


def test_rotation_by_hand() -> None:
    """The pair (1, 0) at position p turns to (cos pf, sin pf); pairs are the halves, or neighbours."""
    frequencies = rope.plain_frequencies(100.0, 4)
    assert frequencies.tolist() == pytest.approx([1.0, 0.1])
    x = np.tile([1.0, 0.0, 0.0, 0.0, 7.0], (1, 3, 1))
    halves = rope.Rope(frequencies).rotate(x)
    neighbours = rope.Rope(frequencies, interleaved=True).rotate(x)
    for position in range(3):
        cosine, sine = math.cos(position), math.sin(position)
        assert halves[0, position].tolist() == pytest.approx([cosine, 0, sine, 0, 7], abs=1e-7)
        assert neighbours[0, position].tolist() == pytest.approx([cosine, sine, 0, 0, 7], abs=1e-7)
    assert rope.Rope(frequencies, scale=1.5).rotate(x)[0, 0].tolist() == pytest.approx([1.5, 0, 0, 0, 7])


@pytest.mark.parametrize("interleaved", [False, True])
def test_only_the_distance_of_two_tokens_counts(interleaved: bool) -> None:
    random = np.random.RandomState(0)
    query, key = (np.tile(random.standard_normal((1, 1, 8)), (1, 20, 1)) for _ in range(2))
    turn = rope.Rope(rope.plain_frequencies(10000.0, 8), interleaved=interleaved).rotate
    scores = (turn(query) @ turn(key).transpose(0, 2, 1))[0]
    for distance in range(-19, 20):
        along = np.diagonal(scores, distance)
        assert np.ptp(along) < 1e-5
    assert np.ptp(scores) > 1.0


FREQUENCIES = 1e6 ** (-np.arange(0, 16, 2) / 16)


def scaled(kind: str, **settings: Any) -> rope.Rope:
    return rope.rope({"rope_type": kind, "rope_theta": 1e6, **settings}, 16, 512)


def test_kinds_of_rope_by_their_definitions() -> None:
    assert scaled("default").frequencies == pytest.approx(FREQUENCIES, rel=1e-6)
    assert scaled("linear", factor=4.0).frequencies == pytest.approx(FREQUENCIES / 4, rel=1e-6)
    assert scaled("dynamic", factor=4.0).frequencies == pytest.approx(FREQUENCIES, rel=1e-6)

    # Waves shorter than 64 / 4 tokens stay, longer than 64 / 1 are stretched eight times, between them in between.
    settings: dict[str, Any] = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama3 = scaled("llama3", **settings, original_max_position_embeddings=64).frequencies / FREQUENCIES
    waves = 2 * math.pi / FREQUENCIES
    assert llama3[waves < 16] == pytest.approx(1.0, rel=1e-6)
    assert llama3[waves > 64] == pytest.approx(0.125, rel=1e-6)
    middle = (waves >= 16) & (waves <= 64)
    share = (64 / waves[middle] - 1) / 3
    assert middle.any()
    assert llama3[middle] == pytest.approx(share + (1 - share) / 8, rel=1e-5)

    yarn = scaled("yarn", factor=4.0, original_max_position_embeddings=2048)
    assert yarn.frequencies[0] == pytest.approx(FREQUENCIES[0])
    assert yarn.frequencies[-1] == pytest.approx(FREQUENCIES[-1] / 4)
    assert (np.diff(yarn.frequencies / FREQUENCIES) <= 1e-6).all()
    assert yarn.scale == pytest.approx(0.1 * math.log(4) + 1)

    proportional = scaled("proportional", partial_rotary_factor=0.25)
    assert proportional.frequencies[:2] == pytest.approx(FREQUENCIES[:2], rel=1e-6)
    assert not proportional.frequencies[2:].any()


def test_longrope_changes_with_the_length_of_the_text() -> None:
    settings: dict[str, Any] = {"short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
    turn = scaled("longrope", **settings, original_max_position_embeddings=5)
    assert turn.scale == pytest.approx(math.sqrt(1 + math.log(512 / 5) / math.log(5)))
    x = np.ones((1, 6, 16))
    short = rope.Rope((FREQUENCIES).astype(np.float32), turn.scale)
    long = rope.Rope((FREQUENCIES / 4).astype(np.float32), turn.scale)
    assert apart(turn.rotate(x[:, :5]), short.rotate(x[:, :5])) < 1e-6
    assert apart(turn.rotate(x), long.rotate(x)) < 1e-6


def test_ntk_stretches_the_last_wave_by_the_factor() -> None:
    """kexue.fm/archives/9706: the base grows so that the slowest pair is as if positions were divided."""
    frequencies = gte.ntk_frequencies(1e6, 16, 8.0, None)
    assert frequencies[-1] == pytest.approx(FREQUENCIES[-1] / 8, rel=1e-5)
    assert frequencies[0] == pytest.approx(8 ** (-2 / 16), rel=1e-6)
    assert gte.ntk_frequencies(1e6, 16, 8.0, 0.5)[-1] == pytest.approx(FREQUENCIES[-1] / 8, rel=1e-5)


def test_windows_by_hand() -> None:
    def seen(mask: npt.NDArray[np.bool_], token: int) -> list[int]:
        return np.flatnonzero(mask[token]).tolist()

    assert seen(decoder.causal_window(9, 3), 5) == [3, 4, 5]
    assert seen(decoder.causal_window(9, 1), 5) == [5]
    assert seen(decoder.causal_window(9, None), 3) == [0, 1, 2, 3]
    gemma: dict[str, Any] = {"sliding_window": 5, "num_hidden_layers": 1, "rope_theta": 1e6}
    both = gemma3.Config.from_json(gemma | {"use_bidirectional_attention": True})
    assert seen(both.visible("sliding_attention", 9), 4) == [2, 3, 4, 5, 6]
    assert seen(both.visible("full_attention", 9), 4) == list(range(9))
    causal = gemma3.Config.from_json(gemma)
    assert seen(causal.visible("sliding_attention", 9), 6) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("family", [family for family in ROTARY_FAMILIES if family != "new"])
def test_keys_of_transformers_4_and_5_mean_the_same(family: Family, tmp_path: Path) -> None:
    """The same weights, the same bases, written either way."""
    kinds = {"full_attention": 500.0, "sliding_attention": 50.0}
    old: dict[str, Any] = {"rope_theta": 500.0}
    new: dict[str, Any] = {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
    if family in ("modernbert", "gemma3_text"):
        new = {"rope_parameters": {kind: {"rope_type": "default", "rope_theta": base} for kind, base in kinds.items()}}
    if family == "modernbert":
        old = {"global_rope_theta": 500.0, "local_rope_theta": 50.0, "global_attn_every_n_layers": 2}
        new["layer_types"] = list(kinds)
    elif family == "gemma3_text":
        old |= {"rope_local_base_freq": 50.0, "sliding_window_pattern": 2}
        new["layer_types"] = list(kinds)[::-1]
    vectors = encode(make_model(tmp_path / "4", family, seed=5, config=old))
    again = encode(make_model(tmp_path / "5", family, seed=5, config=new, modules_form="v6"))
    assert apart(vectors, again) == 0.0
    plain = encode(make_model(tmp_path / "plain", family, seed=5))
    assert apart(vectors, plain) > 1e-4


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}, "partial_rotary_factor": 0.5}, "partial_rotary"),
        ("llama", {"rope_scaling": {"type": "mrope"}}, "mrope"),
        ("llama", {"num_attention_heads": 3, "num_key_value_heads": 2}, "key-value heads"),
        ("qwen3", {"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "by layer type"),
        ("qwen3", {"layer_types": ["sliding_attention", "full_attention"]}, "no sliding_window"),
        ("mistral", {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 9}, "up to 9"),
        ("gte", {"model_type": "new", "position_embedding_type": "relative"}, "relative"),
        ("new", {"layer_norm_type": "group_norm"}, "group_norm"),
        ("new", {"rope_scaling": {"type": "su", "factor": 2.0}}, "su"),
        ("modernbert", {"hidden_size": 50, "num_attention_heads": 4}, "not a multiple"),
    ],
)
def test_what_is_not_followed_in_rotary_models_is_an_error(
    family: Family, config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        encode(make_model(tmp_path, family, seed=5, config=config))


@pytest.mark.parametrize(
    "config",
    [{"prenorm": True}, {"causal": True}, {"use_rms_norm": True}, {"rotary_emb_scale_base": 512}, {"num_experts": 8}],
    ids=str,
)
def test_what_nomics_code_has_and_no_model_uses_is_an_error(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=next(iter(config))):
        encode(make_model(tmp_path, "nomic_bert", seed=5, hub_keys=True, config=config))


def test_nomics_dynamic_rope_is_followed_up_to_the_trained_length(tmp_path: Path) -> None:
    config = {"rotary_scaling_factor": 2, "max_trained_positions": 20}
    folder = make_model(tmp_path, "nomic_bert", seed=5, hub_keys=True, config=config)
    assert encode(folder, ["Hello"]).shape == (1, 48)
    with pytest.raises(ValueError, match="up to 20"):
        encode(folder, ["word " * 100])


# ---- Files ----------------------------------------------------------------------------------------------------------


def test_arithmetic_in_float32_is_near(tmp_path: Path) -> None:
    folder = make_model(tmp_path, "qwen3", seed=5)
    double, single = SentenceTransformer(folder), SentenceTransformer(folder, np.float32)
    assert single.transformer("Hello").dtype == np.float32
    assert 0.0 < apart(double.encode(TEXTS), single.encode(TEXTS)) < 1e-5


def test_a_large_table_stays_in_its_file(tmp_path: Path) -> None:
    """64 MiB, of which the tokens of a text are read; and a large layer is converted each time, not kept."""
    table = np.memmap(tmp_path / "table", dtype=np.float32, mode="w+", shape=(262144, 64))
    table[7], table[262143] = 1.5, -2.5
    write_safetensors(tmp_path / "model.safetensors", {"embed_tokens.weight": table, "norm.weight": np.ones(64)})
    weights = read_model(tmp_path)
    tracemalloc.start()
    rows = weights.rows("embed_tokens", np.array([7, 262143]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
    assert rows.dtype == np.float64
    assert rows[:, 0].tolist() == [1.5, -2.5]
    assert weights["norm.weight"] is weights["norm.weight"]
    with pytest.raises(IndexError, match="262144 rows"):
        weights.rows("embed_tokens", np.array([262144]))


def test_safetensors_round_trip(tmp_path: Path) -> None:
    values = np.array([[1.0, -2.5, 0.1], [1.00390625, 1.01171875, 65504.0]])  # two ties, to even in bfloat16
    rounded = {
        "float32": values.astype(np.float32).astype(float),
        "float16": values.astype(np.float16).astype(float),
        "bfloat16": np.array([[1.0, -2.5, 0.10009765625], [1.0, 1.015625, 65536.0]]),
    }
    for dtype, expected in rounded.items():
        write_safetensors(tmp_path / "x", {"a": values, "ids": np.arange(3)}, dtype)
        stored = read_safetensors(tmp_path / "x")
        assert set(stored) == {"a"}
        assert apart(stored["a"], expected) < 1e-12


def test_factory_repeats_itself(tmp_path: Path) -> None:
    first, again = (make_model(tmp_path / name, "mpnet", seed=5) for name in ("first", "again"))
    for path in first.rglob("*.*"):
        assert path.is_dir() or path.read_bytes() == (again / path.relative_to(first)).read_bytes()
    assert "encoder.relative_attention_bias.weight" in read_model(first)


def test_factory_refuses_what_the_files_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in this order"):
        make_model(tmp_path, "bert", seed=5, pooling=["mean", "cls"])
    with pytest.raises(ValueError, match="DistilBERT"):
        make_model(tmp_path, "distilbert", seed=5, layer_norm_eps=1e-5)
