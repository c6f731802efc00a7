"""A GGUF file of a BERT encoder: float32, its tokens as llama.cpp's WordPiece wants them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

# What begins a word is marked, where WordPiece marks what goes on with one.
WORD_START = "\u2581"
LEFT_OUT = ("pooler.", "embeddings.position_ids")


def token_texts(tokenizer: dict[str, Any]) -> tuple[list[str], list[int]]:
    """The vocabulary in the order of its ids, in llama.cpp's spelling, and the kind of each token."""
    special = {token["id"] for token in tokenizer["added_tokens"]}
    texts, kinds = [], []
    for text, number in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1]):
        if number in special:
            texts.append(text)
            kinds.append(gguf.TokenType.CONTROL)
        else:
            texts.append(text[2:] if text.startswith("##") else WORD_START + text)
            kinds.append(gguf.TokenType.NORMAL)
    return texts, [int(kind) for kind in kinds]


def write_metadata(writer: gguf.GGUFWriter, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    """The keys that llama.cpp reads of a BERT encoder."""
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_type_count(config["type_vocab_size"])
    texts, kinds = token_texts(tokenizer)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    vocabulary = tokenizer["model"]["vocab"]
    writer.add_bos_token_id(vocabulary["[CLS]"])
    writer.add_eos_token_id(vocabulary["[SEP]"])
    writer.add_sep_token_id(vocabulary["[SEP]"])
    writer.add_unk_token_id(vocabulary["[UNK]"])
    writer.add_pad_token_id(vocabulary["[PAD]"])
    writer.add_mask_token_id(vocabulary["[MASK]"])


def write(source: Path, file: Path, *, quantized: bool) -> None:
    """Write the folder `source` to `file`; `quantized` stores the matrices of the layers as Q8_0."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    writer = gguf.GGUFWriter(str(file), "bert")
    write_metadata(writer, config, tokenizer)
    kind = gguf.LlamaFileType.MOSTLY_Q8_0 if quantized else gguf.LlamaFileType.ALL_F32
    writer.add_file_type(kind)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, config["num_hidden_layers"])
    for name, array in load_file(source / "model.safetensors").items():
        bare = name.removeprefix("bert.")
        if bare.startswith(LEFT_OUT):
            continue
        known = names.get_name(bare, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise ValueError(f"gguf has no name for the tensor {name}")
        if quantized and ".encoder." in f".{bare}" and array.ndim == 2:
            packed = gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(known, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(known, array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
