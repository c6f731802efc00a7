"""Measures a model of a gigabyte: how long it loads, how much memory it takes, how fast it is.

    python benches/python/large_model.py [--folder FOLDER] [--shape qwen3-0.6b] [--threads 2] [--json results.json]

The model has random weights in bfloat16, and exactly the shape of a real one; it is made where FOLDER does not have it
yet (1.2 GB), in a temporary folder if none is named. What is printed:

- seconds to load it, against reading its file and converting it once with numpy, both from a cached file;
- the most memory the process ever had, in loading and embedding, against the weights in float32;
- tokens a second, against a plain onnxruntime session over the same graph, if `oxembed export` can write it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures"
WEIGHTS = "model.safetensors"
Tensors = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Shape:
    """A model's settings; tokenizer and modules are those of `fixture`."""

    fixture: str
    config: dict[str, Any]

    def tensors(self) -> Tensors:
        """Names and shapes as the model's own file has them."""
        return qwen3(self.config) if self.config["model_type"] == "qwen3" else bert(self.config)


def qwen3(config: dict[str, Any]) -> Tensors:
    """Tensors of `Qwen3Model`."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        stem = f"layers.{layer}"
        yield f"{stem}.input_layernorm.weight", (hidden,)
        yield f"{stem}.post_attention_layernorm.weight", (hidden,)
        for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
            yield f"{stem}.self_attn.{name}.weight", (rows, hidden)
        yield f"{stem}.self_attn.o_proj.weight", (hidden, queries)
        yield f"{stem}.self_attn.q_norm.weight", (head,)
        yield f"{stem}.self_attn.k_norm.weight", (head,)
        yield f"{stem}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{stem}.mlp.up_proj.weight", (inner, hidden)
        yield f"{stem}.mlp.down_proj.weight", (hidden, inner)
    yield "norm.weight", (hidden,)


def bert(config: dict[str, Any]) -> Tensors:
    """Tensors of `BertModel`, without its pooler."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]

    def linear(stem: str, outputs: int, inputs: int) -> Tensors:
        yield f"{stem}.weight", (outputs, inputs)
        yield f"{stem}.bias", (outputs,)

    def norm(stem: str) -> Tensors:
        yield f"{stem}.weight", (hidden,)
        yield f"{stem}.bias", (hidden,)

    for table, key in (
        ("word", "vocab_size"),
        ("position", "max_position_embeddings"),
        ("token_type", "type_vocab_size"),
    ):
        yield f"embeddings.{table}_embeddings.weight", (config[key], hidden)
    yield from norm("embeddings.LayerNorm")
    for layer in range(config["num_hidden_layers"]):
        stem = f"encoder.layer.{layer}"
        for name in ("query", "key", "value"):
            yield from linear(f"{stem}.attention.self.{name}", hidden, hidden)
        yield from linear(f"{stem}.attention.output.dense", hidden, hidden)
        yield from norm(f"{stem}.attention.output.LayerNorm")
        yield from linear(f"{stem}.intermediate.dense", inner, hidden)
        yield from linear(f"{stem}.output.dense", hidden, inner)
        yield from norm(f"{stem}.output.LayerNorm")


def bert_shape(layers: int, hidden: int) -> Shape:
    """BERT's proportions: heads of 64, four times the width inside."""
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": hidden // 64,
        "intermediate_size": 4 * hidden,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
    }
    config = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, **sizes}
    return Shape("bert-mean-f16", config)


SHAPES = {
    # Qwen/Qwen3-Embedding-0.6B
    "qwen3-0.6b": Shape(
        "qwen3-lasttoken",
        {
            "model_type": "qwen3",
            "hidden_size": 1024,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 3072,
            "vocab_size": 151669,
            "max_position_embeddings": 32768,
            "rope_theta": 1_000_000,
            "rms_norm_eps": 1e-6,
            "hidden_act": "silu",
            "attention_bias": False,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "sliding_window": None,
        },
    ),
    "bert-base": bert_shape(12, 768),
    "bert-large": bert_shape(24, 1024),
    # As many parameters in its layers as the Qwen3 above.
    "bert-huge": bert_shape(35, 1024),
}


def make(folder: Path, shape: Shape, seed: int = 0) -> None:
    """Writes the model folder; the weights tensor by tensor, so that it takes no memory to speak of."""
    source = FIXTURES / shape.fixture
    kept = shutil.ignore_patterns(WEIGHTS, "golden*", "onnx", "config.json")
    shutil.copytree(source, folder, ignore=kept, dirs_exist_ok=True)
    for module in source.glob("*/config.json"):
        shutil.copy(module, folder / module.relative_to(source))
    pooling = folder / "1_Pooling" / "config.json"
    settings = json.loads(pooling.read_text(encoding="utf-8"))
    settings["word_embedding_dimension"] = shape.config["hidden_size"]
    pooling.write_text(json.dumps(settings), encoding="utf-8")
    transformer = folder / "sentence_bert_config.json"
    transformer.write_text(json.dumps({"max_seq_length": 512, "do_lower_case": False}), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(shape.config, indent=2), encoding="utf-8")
    # Renamed when it is whole: a file of that name is a model.
    part = folder / f"{WEIGHTS}.part"
    write_weights(part, list(shape.tensors()), seed)
    part.rename(folder / WEIGHTS)


def write_weights(path: Path, tensors: list[tuple[str, tuple[int, ...]]], seed: int) -> None:
    """A safetensors file of bfloat16: norms of one, biases of zero, all else normal, with a deviation of 0.02."""
    block = 1 << 22
    header: dict[str, Any] = {}
    offset = 0
    for name, shape in tensors:
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensors:
            count = int(np.prod(shape))
            for start in range(0, count, block):
                length = min(block, count - start)
                if "norm" in name.lower() and name.endswith("weight"):
                    values = np.ones(length, np.float32)
                elif name.endswith("bias"):
                    values = np.zeros(length, np.float32)
                else:
                    values = random.standard_normal(length, np.float32) * np.float32(0.02)
                file.write((values.view(np.uint32) >> 16).astype("<u2").tobytes())


def read_and_convert(path: Path, threads: int) -> dict[str, float]:
    """Seconds that it takes to read the file and to make float32 of all of it, in blocks that fit in the cache."""
    start = time.perf_counter()
    stored: NDArray[np.uint16] = np.fromfile(path, "<u2")
    read = time.perf_counter()
    floats = np.empty(len(stored), np.uint32)

    def convert(first: int) -> None:
        part = floats[first : first + (1 << 18)]
        np.left_shift(stored[first : first + len(part)], np.uint32(16), out=part, dtype=np.uint32)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(convert, range(0, len(stored), 1 << 18)))
    return {"read": read - start, "convert": time.perf_counter() - read}


def peak_megabytes() -> float:
    """The most memory this process ever had. Not `ru_maxrss`, which begins with that of the parent."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def texts(count: int) -> list[str]:
    """Texts of a few dozen words, no two alike."""
    words = Path(__file__).read_text(encoding="utf-8").split()
    random = np.random.default_rng(1)
    return [" ".join(random.choice(words, 30)) for _ in range(count)]


def load_and_embed(folder: Path, threads: int, count: int) -> dict[str, float]:
    """Loads the model, embeds one text, then many, and says how long each took and how much memory there was."""
    from oxembed import Embedder

    before = peak_megabytes()
    start = time.perf_counter()
    model = Embedder(folder, threads=threads)
    loaded = time.perf_counter()
    after_loading = peak_megabytes()
    model.encode("one")
    first = time.perf_counter()
    vectors = model.encode(texts(count))
    done = time.perf_counter()
    if not np.isfinite(vectors).all():
        raise ValueError("the model gave numbers that are not finite")
    return {
        "load": loaded - start,
        "first_text": first - loaded,
        "embed": done - first,
        "texts_per_second": count / (done - first),
        "megabytes_before": before,
        "peak_megabytes_loading": after_loading,
        "peak_megabytes": peak_megabytes(),
    }


def plain_session(folder: Path, onnx_file: Path, threads: int, count: int) -> dict[str, float]:
    """Texts a second of one onnxruntime session over `onnx_file`, in batches of equal lengths and 512 tokens."""
    import baseline

    session, tokenizer = baseline.session(onnx_file, threads), baseline.tokenizer(folder)
    inputs = {port.name for port in session.get_inputs()}
    start = time.perf_counter()
    rows = sorted((encoding.ids for encoding in tokenizer.encode_batch(texts(count))), key=len)
    while rows:
        size = max(1, 512 // len(rows[-1]))
        batch, rows = rows[-size:], rows[:-size]
        ids = np.zeros((len(batch), len(batch[-1])), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(batch):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape).copy()
        feeds = {
            "input_ids": ids,
            "attention_mask": mask,
            "position_ids": positions,
            "token_type_ids": np.zeros_like(ids),
        }
        session.run(None, {name: value for name, value in feeds.items() if name in inputs})
    return {"texts_per_second": count / (time.perf_counter() - start)}


def export(folder: Path, onnx_file: Path) -> bool:
    """Has oxembed write its graph as a file; false where this version cannot."""
    command = [sys.executable, "-m", "oxembed", "export", str(folder), str(onnx_file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        raise RuntimeError(done.stderr)
    return done.returncode == 0 and onnx_file.is_file()


def apart(arguments: argparse.Namespace, step: str, *values: str) -> dict[str, float]:
    """One step in a process of its own, whose memory is its own."""
    common = ["--folder", str(arguments.folder), "--threads", str(arguments.threads), "--texts", str(arguments.texts)]
    command = [sys.executable, __file__, *common, "--step", step, *values]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def best(results: list[dict[str, float]]) -> dict[str, float]:
    """The shortest times and the largest of all else: the machine's other work only ever adds time."""
    times = {"read", "convert", "load", "first_text", "embed"}
    return {key: (min if key in times else max)(result[key] for result in results) for key in results[0]}


def measure(arguments: argparse.Namespace, shape: Shape) -> dict[str, Any]:
    """Every step, in turn, as often as was asked for."""
    parameters = sum(int(np.prod(size)) for _, size in shape.tensors())
    rounds = [(apart(arguments, "convert"), apart(arguments, "load")) for _ in range(arguments.rounds)]
    converting = best([converting for converting, _ in rounds])
    loading = best([loading for _, loading in rounds])
    float32_megabytes = parameters * 4 / 2**20
    results: dict[str, Any] = {
        "parameters": parameters,
        "float32_megabytes": float32_megabytes,
        "read_and_convert": converting,
        "oxembed": loading,
        "load_ratio": loading["load"] / (converting["read"] + converting["convert"]),
        "memory_ratio": loading["peak_megabytes"] / float32_megabytes,
    }
    with tempfile.TemporaryDirectory() as folder:
        onnx_file = Path(folder) / "model.onnx"
        if export(arguments.folder, onnx_file):
            plain = best([apart(arguments, "plain", "--onnx", str(onnx_file)) for _ in range(arguments.rounds)])
            results["plain_session"] = plain
            results["throughput_ratio"] = loading["texts_per_second"] / plain["texts_per_second"]
    return results


def show(results: dict[str, Any]) -> None:
    """Prints the results for people."""
    converting, loading = results["read_and_convert"], results["oxembed"]
    print(f"parameters             {results['parameters']:,}, {results['float32_megabytes']:.0f} MB in float32")
    print(f"read + convert, numpy  {converting['read']:.2f} + {converting['convert']:.2f} s")
    print(f"load                   {loading['load']:.2f} s, {results['load_ratio']:.2f} x (at most 1.2 is the goal)")
    print(f"first text             {loading['first_text']:.2f} s")
    print(f"peak memory, loading   {loading['peak_megabytes_loading']:.0f} MB")
    print(
        f"peak memory, all       {loading['peak_megabytes']:.0f} MB, {results['memory_ratio']:.2f} x float32 weights "
        "(at most 1.25 is the goal)"
    )
    print(f"throughput             {loading['texts_per_second']:.2f} texts/s")
    if "plain_session" in results:
        plain = results["plain_session"]["texts_per_second"]
        print(f"plain session          {plain:.2f} texts/s, oxembed has {results['throughput_ratio']:.2f} x")
    else:
        print("plain session          not measured: this version of oxembed has no export")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the model is or is to be made")
    parser.add_argument("--shape", choices=SHAPES, default="qwen3-0.6b")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the results")
    parser.add_argument("--make-only", action="store_true")
    parser.add_argument("--step", choices=["convert", "load", "plain"], help=argparse.SUPPRESS)
    parser.add_argument("--onnx", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        folder, threads, count = arguments.folder, arguments.threads, arguments.texts
        steps = {
            "convert": lambda: read_and_convert(folder / WEIGHTS, threads),
            "load": lambda: load_and_embed(folder, threads, count),
            "plain": lambda: plain_session(folder, arguments.onnx, threads, count),
        }
        print(json.dumps(steps[arguments.step]()))
        return
    shape = SHAPES[arguments.shape]
    with tempfile.TemporaryDirectory() as temporary:
        arguments.folder = arguments.folder or Path(temporary) / arguments.shape
        if not (arguments.folder / WEIGHTS).is_file():
            make(arguments.folder, shape, arguments.seed)
        if arguments.make_only:
            return
        results = measure(arguments, shape)
    show(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
