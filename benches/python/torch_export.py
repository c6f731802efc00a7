"""Models of well-known shapes with random weights: a folder for oxembed and torch's own ONNX export beside it.

Needs torch, transformers and onnx, which nothing else here does; run it with a Python that has them:

    python benches/python/torch_export.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import AutoModel, BertConfig, ModernBertConfig, PretrainedConfig, Qwen3Config

SHAPES: dict[str, PretrainedConfig] = {
    "bert-base": BertConfig(),
    "modernbert-base": ModernBertConfig(reference_compile=False),
    "qwen3-four-layers": Qwen3Config(
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=4,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        vocab_size=30000,
    ),
}
POOLING = {"word_embedding_dimension": 0, "pooling_mode_mean_tokens": True}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


class TokenEmbeddings(torch.nn.Module):
    """The part of a model that is exported."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(batch, sequence) twice to (batch, sequence, hidden)."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def write(config: PretrainedConfig, folder: Path, tokenizer: Path) -> None:
    """Write the folder and `torch.onnx` in it."""
    torch.manual_seed(0)
    config._attn_implementation = "eager"
    model = AutoModel.from_config(config).eval()
    model.save_pretrained(folder)
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({**POOLING, "word_embedding_dimension": config.hidden_size})
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, folder / name)
    ids = torch.randint(0, 1000, (2, 16))
    names = {0: "batch", 1: "sequence"}
    with torch.no_grad():
        torch.onnx.export(
            TokenEmbeddings(model),
            (ids, torch.ones_like(ids)),
            str(folder / "torch.onnx"),
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_axes={"input_ids": names, "attention_mask": names, "last_hidden_state": names},
            opset_version=17,
            dynamo=False,
        )


def main() -> int:
    """Write every shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=Path(__file__).parents[2] / "tests/fixtures/bert-cls")
    arguments = parser.parse_args()
    for name, config in SHAPES.items():
        folder = arguments.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        write(config, folder, arguments.tokenizer)
        sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
