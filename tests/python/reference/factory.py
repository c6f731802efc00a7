"""Model folders with random weights, laid out as sentence-transformers writes them, in every setting tests want."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from . import rotary_models
from .postprocess import LEGACY_MODES
from .random_weights import RandomWeights, Tensors
from .weights import write_model, write_safetensors

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
GOLDEN_FIXTURES = (
    "bert-cls",
    "bert-mean-f16",
    "bert-mean-prompts",
    "bert-mean-st6",
    "distilbert-mean",
    "gemma3-mean-dense",
    "gte-cls",
    "modernbert-cls",
    "mpnet-mean-b",
    "nomicbert-mean",
    "qwen3-lasttoken",
    "qwen3-sharded-bf16",
    "roberta-mean",
    "xlmr-mean-prompts",
)

Family: TypeAlias = Literal[
    "bert",
    "roberta",
    "xlm-roberta",
    "distilbert",
    "mpnet",
    "modernbert",
    "nomic_bert",
    "gte",
    "new",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma3_text",
]
ModulesForm: TypeAlias = Literal["old", "v6"]
# (out_features, bias, activation); the activation is a class of torch.nn, "Tanh", or a whole path, or None for no key.
DenseSpec: TypeAlias = tuple[int, bool, str | None]

BERT_FAMILIES: tuple[Family, ...] = ("bert", "roberta", "xlm-roberta", "distilbert", "mpnet")
# "new" is GTE as Alibaba's own code has it; transformers has no class of that name.
ROTARY_FAMILIES: tuple[Family, ...] = (
    "modernbert",
    "nomic_bert",
    "gte",
    "new",
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma3_text",
)
FAMILIES = BERT_FAMILIES + ROTARY_FAMILIES
_TOKENIZERS: Mapping[Family, str] = {
    "bert": "bert-cls",
    "distilbert": "distilbert-mean",
    "mpnet": "mpnet-mean-b",
    "roberta": "roberta-mean",
    "xlm-roberta": "xlmr-mean-prompts",
    "modernbert": "modernbert-cls",
    "nomic_bert": "nomicbert-mean",
    "gte": "gte-cls",
    "new": "gte-cls",
    "llama": "qwen3-lasttoken",
    "mistral": "qwen3-lasttoken",
    "qwen2": "qwen3-lasttoken",
    "qwen3": "qwen3-lasttoken",
    "gemma3_text": "gemma3-mean-dense",
}
_ARCHITECTURES: Mapping[Family, str] = {
    "bert": "BertModel",
    "distilbert": "DistilBertModel",
    "mpnet": "MPNetModel",
    "roberta": "RobertaModel",
    "xlm-roberta": "XLMRobertaModel",
    "modernbert": "ModernBertModel",
    "nomic_bert": "NomicBertModel",
    "gte": "GteModel",
    "new": "NewModel",
    "llama": "LlamaModel",
    "mistral": "MistralModel",
    "qwen2": "Qwen2Model",
    "qwen3": "Qwen3Model",
    "gemma3_text": "Gemma3TextModel",
}
_OLD_TYPES = "sentence_transformers.models."
_V6_TYPES = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
}
_V6_TRANSFORMER = {
    "transformer_task": "feature-extraction",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
    "module_output_name": "token_embeddings",
}


def _tensors(family: Family, config: Mapping[str, Any], seed: int) -> Tensors:
    """The encoder's tensors under the names of transformers' modeling files, the unused pooler among them."""
    random = RandomWeights(seed)
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    random.normal("embeddings.word_embeddings.weight", (config["vocab_size"], hidden), 1.0)
    random.normal("embeddings.position_embeddings.weight", (config["max_position_embeddings"], hidden), 0.5)
    if family not in ("distilbert", "mpnet"):
        random.normal("embeddings.token_type_embeddings.weight", (config["type_vocab_size"], hidden), 0.5)
    random.layer_norm("embeddings.LayerNorm", hidden)
    if family == "mpnet":
        shape = (config["relative_attention_num_buckets"], config["num_attention_heads"])
        random.normal("encoder.relative_attention_bias.weight", shape, 1.0)
    for layer in range(config["num_hidden_layers"]):
        if family == "distilbert":
            name = f"transformer.layer.{layer}"
            for part in ("q_lin", "k_lin", "v_lin", "out_lin"):
                random.linear(f"{name}.attention.{part}", hidden, hidden)
            random.layer_norm(f"{name}.sa_layer_norm", hidden)
            random.linear(f"{name}.ffn.lin1", hidden, wide)
            random.linear(f"{name}.ffn.lin2", wide, hidden)
            random.layer_norm(f"{name}.output_layer_norm", hidden)
            continue
        name = f"encoder.layer.{layer}"
        if family == "mpnet":
            parts = [f"attn.{part}" for part in "qkvo"]
        else:
            parts = ["self.query", "self.key", "self.value", "output.dense"]
        for part in parts:
            random.linear(f"{name}.attention.{part}", hidden, hidden)
        random.layer_norm(f"{name}.attention.{'' if family == 'mpnet' else 'output.'}LayerNorm", hidden)
        random.linear(f"{name}.intermediate.dense", hidden, wide)
        random.linear(f"{name}.output.dense", wide, hidden)
        random.layer_norm(f"{name}.output.LayerNorm", hidden)
    if family != "distilbert":
        random.linear("pooler.dense", hidden, hidden)
    return random.tensors


def make_model(
    folder: Path,
    family: Family,
    *,
    seed: int,
    hidden_size: int = 48,
    num_attention_heads: int = 4,
    num_hidden_layers: int = 2,
    intermediate_size: int = 96,
    hidden_act: str | None = None,
    layer_norm_eps: float | None = None,
    type_vocab_size: int | None = None,
    max_position_embeddings: int | None = None,
    pad_token_id: int | None = None,
    relative_attention_num_buckets: int = 32,
    pooling: str | Sequence[str] = "mean",
    include_prompt: bool = True,
    dense: Sequence[DenseSpec] = (),
    normalize: bool = True,
    dtype: str = "float32",
    prefix: str = "",
    tensorflow_names: bool = False,
    shards: int = 1,
    prompts: Mapping[str, str] | None = None,
    default_prompt_name: str | None = None,
    max_seq_length: int | None = 64,
    do_lower_case: bool = False,
    modules_form: ModulesForm = "old",
    tokenizer: str | None = None,
    hub_keys: bool = False,
    config: Mapping[str, Any] | None = None,
    tokenizer_config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a whole sentence-transformers folder and return it.

    - `hidden_act` and `layer_norm_eps` are the family's own where None; DistilBERT has no choice of the latter;
    - `max_position_embeddings`, where None, just holds `max_seq_length` tokens (64 where that is None too), and is 512
      in the families of `rotary_models`, which have no table of that length;
    - `pooling` is a mode or several. `modules_form="old"` writes sentence-transformers 2 to 5.3's files, whose booleans
      cannot say an order, so the modes must stand in that of `LEGACY_MODES`; "v6" writes those of 5.4 and later, where
      `max_seq_length` is tokenizer_config.json's `model_max_length`;
    - `max_seq_length=None` leaves the length out of either form, for the position table to decide;
    - `prefix` goes before the encoder's tensor names, as in a checkpoint of a model with a head ("bert.");
    - `tensorflow_names` calls the LayerNorms' tensors gamma and beta, as the oldest BERT checkpoints do;
    - `tokenizer` names the fixture whose tokenizer is copied; each family has its own;
    - `config` and `tokenizer_config` are laid over config.json and tokenizer_config.json; None takes a key out. What
      else a family has (key-value heads, biases, kinds of layers, rope) is set through `config`: in the families of
      `rotary_models` the tensors follow it, in those of BERT they do not;
    - `modules_form` also says whether config.json has transformers 4's keys ("old") or 5's ("v6"); `hub_keys` gives
      NomicBERT those of nomic-ai's repositories instead.
    """
    modes = [pooling] if isinstance(pooling, str) else list(pooling)
    source = FIXTURES / (tokenizer or _TOKENIZERS[family])
    tokenizer_text = (source / "tokenizer.json").read_text(encoding="utf-8")
    shape: dict[str, Any] = {
        "model_type": family,
        "architectures": [_ARCHITECTURES[family]],
        "vocab_size": _vocabulary(tokenizer_text),
        "hidden_size": hidden_size,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": num_attention_heads,
        "intermediate_size": intermediate_size,
        "pad_token_id": pad_token_id,
        "dtype" if modules_form == "v6" else "torch_dtype": dtype,
        "transformers_version": "5.23.0" if modules_form == "v6" else "4.41.0",
    }
    if family in BERT_FAMILIES:
        activation, eps = hidden_act or "gelu", layer_norm_eps
        settings = _bert_settings(family, shape, activation, eps, type_vocab_size, relative_attention_num_buckets)
        offset = 0 if family in ("bert", "distilbert") else settings["pad_token_id"] + 1
        settings["max_position_embeddings"] = max_position_embeddings or (max_seq_length or 64) + offset
        tensors = _tensors(family, settings, seed)
        if modules_form == "old" and family in ("bert", "roberta", "xlm-roberta"):  # a buffer that transformers 4 saved
            positions = np.arange(settings["max_position_embeddings"], dtype=np.int64)[None, :]
            tensors["embeddings.position_ids"] = positions
        settings = _overlaid(_distilbert_names(settings) if family == "distilbert" else settings, config)
    else:
        shape["max_position_embeddings"] = max_position_embeddings or 512
        names = {"hidden_act": hidden_act, "eps": layer_norm_eps, "type_vocab_size": type_vocab_size}
        given = {key: value for key, value in names.items() if value is not None}
        settings = rotary_models.settings(shape, given, new_keys=modules_form == "v6", hub_keys=hub_keys)
        settings = _overlaid(settings, config)
        tensors = rotary_models.tensors(settings, seed)
    if tensorflow_names:
        renamed = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for new, old in renamed.items():
            tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}

    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", settings)
    write_model(folder, {prefix + name: tensor for name, tensor in tensors.items()}, dtype, shards)
    (folder / "tokenizer.json").write_text(tokenizer_text, encoding="utf-8")
    declared = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    declared["model_max_length"] = None
    if modules_form == "v6":
        declared["model_max_length"] = max_seq_length
        _write_json(folder / "sentence_bert_config.json", _V6_TRANSFORMER | _lower_case_key(do_lower_case))
    else:
        lengths = {"max_seq_length": max_seq_length, "do_lower_case": do_lower_case}
        _write_json(folder / "sentence_bert_config.json", lengths)
    _write_json(folder / "tokenizer_config.json", _overlaid(_overlaid({}, declared), tokenizer_config))
    _write_sentence_settings(folder, modules_form, prompts or {}, default_prompt_name)
    _write_modules(folder, modules_form, hidden_size, modes, include_prompt, dense, normalize, dtype, seed)
    return folder


def _vocabulary(tokenizer_text: str) -> int:
    """How many rows a table needs for every token of a tokenizer."""
    tokenizer = json.loads(tokenizer_text)
    size = len(tokenizer["model"]["vocab"])
    return max([size, *(int(token["id"]) + 1 for token in tokenizer["added_tokens"])])


def _bert_settings(
    family: Family,
    shape: Mapping[str, Any],
    hidden_act: str,
    layer_norm_eps: float | None,
    type_vocab_size: int | None,
    relative_attention_num_buckets: int,
) -> dict[str, Any]:
    if family == "distilbert" and layer_norm_eps is not None:
        raise ValueError("DistilBERT's layer_norm_eps is 1e-12 in its code; config.json has no such key")
    pad = shape["pad_token_id"]
    settings: dict[str, Any] = {
        **shape,
        "hidden_act": hidden_act,
        "layer_norm_eps": layer_norm_eps if layer_norm_eps is not None else 1e-12,
        "pad_token_id": pad if pad is not None else (0 if family in ("bert", "distilbert") else 1),
    }
    if family == "mpnet":
        settings["relative_attention_num_buckets"] = relative_attention_num_buckets
    elif family != "distilbert":
        default_types = 2 if family == "bert" else 1
        settings["type_vocab_size"] = type_vocab_size if type_vocab_size is not None else default_types
    return settings


def _distilbert_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    }
    return {names.get(key, key): value for key, value in settings.items() if key != "layer_norm_eps"}


def _write_modules(
    folder: Path,
    form: ModulesForm,
    size: int,
    modes: Sequence[str],
    include_prompt: bool,
    dense: Sequence[DenseSpec],
    normalize: bool,
    dtype: str,
    seed: int,
) -> None:
    """modules.json and a folder for each module with a config; an old Normalize has none."""
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    modules += [("Dense", f"{number}_Dense") for number in range(2, 2 + len(dense))]
    if normalize:
        modules.append(("Normalize", f"{len(modules)}_Normalize"))
    entries = [
        {
            "idx": index,
            "name": str(index),
            "path": path,
            "type": _V6_TYPES[name] if form == "v6" else f"{_OLD_TYPES}{name}",
        }
        for index, (name, path) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(entries, indent=2), encoding="utf-8")

    pooling: dict[str, Any]
    if form == "v6":
        pooling = {"embedding_dimension": size, "pooling_mode": modes[0] if len(modes) == 1 else modes}
    else:
        pooling = {"word_embedding_dimension": size} | {key: mode in modes for key, mode in LEGACY_MODES.items()}
        if [mode for mode in LEGACY_MODES.values() if mode in modes] != list(modes):
            raise ValueError(
                f"the old Pooling config cannot say {modes}: {', '.join(LEGACY_MODES.values())}, in this order"
            )
    _write_json(folder / "1_Pooling" / "config.json", pooling | {"include_prompt": include_prompt})

    random = RandomWeights(seed + 1)
    inputs = size * len(modes)
    for number, (outputs, bias, activation) in enumerate(dense, start=2):
        settings: dict[str, Any] = {"in_features": inputs, "out_features": outputs, "bias": bias}
        if activation is not None:
            module = "linear" if activation == "Identity" else "activation"
            path = activation if "." in activation else f"torch.nn.modules.{module}.{activation}"
            settings["activation_function"] = path
        if form == "v6":
            settings |= {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
        _write_json(folder / f"{number}_Dense" / "config.json", settings)
        random.tensors = {}
        random.linear("linear", inputs, outputs, bias=bias)
        write_safetensors(folder / f"{number}_Dense" / "model.safetensors", random.tensors, dtype)
        inputs = outputs
    if normalize and form == "v6":
        names = {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"}
        _write_json(folder / modules[-1][1] / "config.json", names)


def _write_sentence_settings(
    folder: Path, form: ModulesForm, prompts: Mapping[str, str], default_prompt_name: str | None
) -> None:
    """config_sentence_transformers.json: 5 and later always write a query and a document prompt."""
    settings: dict[str, Any] = {
        "__version__": {
            "sentence_transformers": "6.2.0" if form == "v6" else "3.0.0",
            "transformers": "5.23.0" if form == "v6" else "4.41.0",
            "pytorch": "2.3.0",
        },
        "prompts": {"query": "", "document": "", **prompts} if form == "v6" else dict(prompts),
        "default_prompt_name": default_prompt_name,
        "similarity_fn_name": "cosine",
    }
    if form == "v6":
        settings["model_type"] = "SentenceTransformer"
    _write_json(folder / "config_sentence_transformers.json", settings)


def _lower_case_key(do_lower_case: bool) -> dict[str, Any]:
    return {"do_lower_case": True} if do_lower_case else {}


def _overlaid(base: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = {**base, **(over or {})}
    removed = {key for key, value in (over or {}).items() if value is None}
    return {key: value for key, value in merged.items() if key not in removed}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
