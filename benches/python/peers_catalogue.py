"""The peers: what each row runs, in which environment, with which form of the model."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peers_environment import Environment
from peers_models import FLOAT32, ORIGINAL, Form

# A careful user tries these; the fastest on a sample is kept.
BATCHES = (8, 16, 32)
ONNX_ENVIRONMENT = "sentence-transformers-onnx"
SERVER = "text-embeddings-inference"
OPENVINO_ENVIRONMENT = "sentence-transformers-openvino"
ON_A_MAC = platform.system() == "Darwin"
CANDLE = (
    *("build", "--quiet", "--release", "--locked", "--target-dir", "{folder}/target"),
    *("--manifest-path", str(Path(__file__).resolve().parents[1] / "candle" / "Cargo.toml")),
    *(("--features", "accelerate") if ON_A_MAC else ()),
)
# As its own documentation says for processors, and for Macs.
INFERENCE = (
    *("install", "--quiet", "--locked", "--root", "{folder}", "text-embeddings-router"),
    *("--git", "https://github.com/huggingface/text-embeddings-inference"),
    *("--no-default-features", "--features", "http,metal" if ON_A_MAC else "http,ort"),
)


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the table.

    `peer` is what `--only` names; `kind` says what the vectors are held to: "float32" to oxembed's, "lower precision"
    to nothing, but the cosine is shown, and "another model" is no answer to the same question at all. `models` are
    settings whose values are folders, by form.
    """

    name: str
    peer: str
    environment: str
    program: str
    kind: str = "float32"
    models: Mapping[str, str] = field(default_factory=lambda: {"folder": FLOAT32})
    settings: Mapping[str, Any] = field(default_factory=dict)
    batches: tuple[int, ...] = ()
    # A program of the user's own, in place of `program` in `environment`.
    command: tuple[str, ...] = ()


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        Environment("oxembed", ("numpy>=1.26", "onnxruntime>=1.24", "tqdm>=4.66"), with_package=True),
        Environment("torch", ("torch>=2.6,<3", "numpy>=1.26")),
        Environment("onnxruntime", ("onnxruntime>=1.24,<2", "tokenizers>=0.21,<1", "numpy>=1.26")),
        Environment("sentence-transformers", ("sentence-transformers>=5.2,<7",), ("torch",)),
        Environment(ONNX_ENVIRONMENT, ("sentence-transformers[onnx]>=5.2,<7",), ("torch",)),
        Environment(OPENVINO_ENVIRONMENT, ("sentence-transformers[openvino]>=5.2,<7",), ("torch",)),
        Environment("fastembed", ("fastembed>=0.7,<1",)),
        Environment("embed-anything", ("embed-anything>=0.6,<1",)),
        Environment("model2vec", ("model2vec>=0.6,<1",)),
        Environment("model2vec-distill", ("model2vec[distill,quantization]>=0.6,<1",), ("torch",)),
        # It wants NumPy 1, and what optimum brings would be the last of packages that want NumPy 2.
        Environment(
            "infinity",
            # Its BetterTransformer is not for a newer transformers.
            ("infinity-emb[torch,optimum]>=0.0.77,<1", "optimum<2", "transformers<4.49", "datasets<4", "pyarrow<19"),
            ("torch",),
        ),
        Environment("llama-cpp", ("llama-cpp-python>=0.3.16,<1", "gguf>=0.17,<1", "safetensors>=0.5")),
        Environment("mlx", ("mlx-embeddings>=0.0.3,<1",), macs_only=True),
        Environment("candle", cargo=CANDLE, binary="target/release/candle-peer"),
        Environment(
            "text-embeddings-inference", ("numpy>=1.26",), cargo=INFERENCE, binary="bin/text-embeddings-router"
        ),
    )
}
FORMS = {
    "onnx": Form("onnx", ONNX_ENVIRONMENT),
    "onnx-optimized": Form("onnx_optimized", ONNX_ENVIRONMENT, "onnx"),
    "onnx-int8": Form("onnx_int8", ONNX_ENVIRONMENT, "onnx"),
    "openvino": Form("openvino", OPENVINO_ENVIRONMENT),
    "openvino-int8": Form("openvino_int8", OPENVINO_ENVIRONMENT, "openvino"),
    "hub": Form("hub_cache", "embed-anything", "onnx"),
    "static": Form("static", "model2vec-distill"),
    "gguf": Form("gguf_f32", "llama-cpp"),
    "gguf-q8": Form("gguf_q8", "llama-cpp"),
}
LOWER = "lower precision"
ANOTHER = "another model"
# The part of an export that sentence-transformers reads as a folder.
WHOLE = "/whole"

OXEMBED = Row("oxembed", "oxembed", "oxembed", "oxembed", models={"folder": ORIGINAL}, settings={"dtype": "float32"})
OXEMBED_INT8 = Row("oxembed int8", "oxembed", "oxembed", "oxembed", LOWER, {"folder": ORIGINAL}, {"dtype": "int8"})
REFERENCES = {"float32": OXEMBED, LOWER: OXEMBED_INT8, ANOTHER: OXEMBED}


def row(
    peer: str,
    what: str,
    program: str,
    models: Mapping[str, str],
    *,
    kind: str = "float32",
    environment: str = "",
    **settings: Any,
) -> Row:
    """A row of a peer at its defaults."""
    return Row(f"{peer}{what}", peer, environment or peer, program, kind, models, settings)


def careful(plain: Row, what: str, models: Mapping[str, str] | None = None) -> Row:
    """The same peer as a careful user sets it: threads named, the fastest of some batch sizes."""
    return replace(plain, name=f"{plain.peer}{what}", models=models or plain.models, batches=BATCHES)


def sentence_transformers() -> list[Row]:
    """All backends, and their own low precision."""
    peer, program = "sentence-transformers", "sentence_transformers"
    torch = row(peer, "", program, {"folder": FLOAT32})
    onnx = row(peer, " ONNX", program, {"folder": f"onnx{WHOLE}"}, environment=ONNX_ENVIRONMENT, backend="onnx")
    openvino = row(
        peer, " OpenVINO", program, {"folder": f"openvino{WHOLE}"}, environment=OPENVINO_ENVIRONMENT, backend="openvino"
    )
    full = replace(openvino, settings={**openvino.settings, "precision": "f32"})
    half = replace(openvino, kind=LOWER, settings={**openvino.settings, "precision": "bf16"})
    return [
        torch,
        careful(torch, ", careful"),
        onnx,
        careful(onnx, " ONNX O3, careful", {"folder": f"onnx-optimized{WHOLE}"}),
        openvino,
        careful(full, " OpenVINO f32, careful"),
        careful(replace(onnx, kind=LOWER), " ONNX int8, careful", {"folder": f"onnx-int8{WHOLE}"}),
        careful(half, " OpenVINO bf16, careful"),
        careful(replace(openvino, kind=LOWER), " OpenVINO int8, careful", {"folder": f"openvino-int8{WHOLE}"}),
    ]


def onnx_programs() -> list[Row]:
    """What runs an ONNX file: plain onnxruntime, fastembed, embed-anything."""
    fastembed = row("fastembed", "", "fastembed", {"onnx": "onnx"})
    anything = row("embed-anything", " ONNX", "embed_anything", {"hub": "hub"}, engine="onnx")
    candle = row("embed-anything", " candle", "embed_anything", {"hub": "hub"}, engine="candle")
    return [
        row("onnxruntime", "", "onnxruntime", {"onnx": "onnx"}, best=False),
        row("onnxruntime", ", careful", "onnxruntime", {"onnx": "onnx"}, best=True),
        row("onnxruntime", " int8, careful", "onnxruntime", {"onnx": "onnx-int8"}, kind=LOWER, best=True),
        fastembed,
        careful(fastembed, " optimized, careful", {"onnx": "onnx-optimized"}),
        careful(replace(fastembed, kind=LOWER), " int8, careful", {"onnx": "onnx-int8"}),
        candle,
        careful(candle, " candle, careful"),
        anything,
        careful(anything, " ONNX, careful"),
    ]


def others() -> list[Row]:
    """The rest."""
    infinity = row("infinity", " torch", "infinity", {"folder": FLOAT32}, engine="torch")
    optimum = row("infinity", " ONNX", "infinity", {"folder": f"onnx{WHOLE}"}, engine="optimum")
    llama = row("llama-cpp", "", "llama_cpp", {"gguf": "gguf"})
    candle = row("candle", "", "", {"folder": FLOAT32})
    tokens = (512, 2048)
    inference = row(SERVER, "", "text_embeddings_inference", {"folder": f"onnx{WHOLE}"})
    return [
        row("model2vec", "", "model2vec", {"static": "static"}, kind=ANOTHER),
        candle,
        careful(replace(candle, settings={"sorted": True}), ", careful"),
        infinity,
        careful(infinity, " torch, careful"),
        careful(optimum, " ONNX, careful"),
        llama,
        replace(careful(llama, ", careful"), batches=tokens),
        replace(careful(replace(llama, kind=LOWER), " Q8_0, careful", {"gguf": "gguf-q8"}), batches=tokens),
        inference,
        careful(inference, ", careful"),
        careful(row("mlx", "", "mlx", {"folder": FLOAT32}), ", careful"),
    ]


ROWS = (OXEMBED, OXEMBED_INT8, *onnx_programs(), *sentence_transformers(), *others())
