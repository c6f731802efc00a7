"""CoreML, or any other provider, against the CPU and against the usual ONNX export on the same provider.

    python benches/python/coreml.py                                    # on a Mac with Apple silicon
    python benches/python/coreml.py --onnx path/to/onnx/model.onnx     # with the usual export beside it
    python benches/python/coreml.py --provider openvino --json results.json

Measured, all sides in turn in one process: P50, P95 and P99 of one text and of batches; texts a second over a corpus;
the cosine of every vector to the CPU's; which share of the nodes and of the multiply-adds the provider has; and, in
processes of their own, loading and the first text, with and without what an earlier load compiled. The usual export is
torch's, run by onnxruntime and tokenizers in Python: for the embedded model the file `onnx/model.onnx` of
sentence-transformers/all-MiniLM-L6-v2 on the Hugging Face Hub, and for any what this writes:
`optimum-cli export onnx --model MODEL FOLDER`. Nothing is downloaded.

docs/performance.md says how to read the figures. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from coreml_measurements import measure
from coreml_report import as_markdown, as_text
from coreml_sides import MeasurementError, load

from oxembed._arguments.model import add_provider_options
from oxembed.exceptions import OxembedError

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, got {text!r}")
    return int(text)


def count(text: str) -> int:
    """A whole number from 0 on."""
    return 0 if text == "0" else positive(text)


def batches(text: str) -> list[int]:
    """Sizes of batches, each once."""
    return sorted({positive(size.strip()) for size in text.split(",")})


def check_writable(path: Path) -> None:
    """Raises OSError where `path` cannot be written; leaves nothing behind."""
    was_there = path.exists()
    path.open("a", encoding="utf-8").close()
    if not was_there:
        path.unlink()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(MODEL), help="model folder (default: the embedded model)")
    add_provider_options(parser.add_argument_group("how to run it"), "coreml", "execution provider (default: coreml)")
    parser.set_defaults(revision=None)
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="the usual ONNX export of the same model")
    parser.add_argument("--texts", type=Path, default=ROOT / "data" / "short_texts.txt", help="a text a line")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N texts (default: all)")
    parser.add_argument("--batches", type=batches, default=[1, 4, 8, 16, 32], metavar="N,N", help="texts a call")
    parser.add_argument("--runs", type=positive, default=50, help="single calls of each batch (default: 50)")
    parser.add_argument("--warm-ups", type=count, default=3, help="calls before them that do not count (default: 3)")
    parser.add_argument("--rounds", type=positive, default=3, help="times the corpus is embedded (default: 3)")
    parser.add_argument("--starts", type=count, default=3, help="loads in a process of their own (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="add the tables to this file, as Markdown")
    arguments = parser.parse_args()
    if "," in arguments.provider or arguments.provider == "auto":
        parser.error("--provider: one provider is measured at a time; name it")
    if arguments.onnx is not None and not arguments.onnx.is_file():
        parser.error(f"--onnx: there is no file {arguments.onnx}")
    return arguments


def main() -> int:
    """Measure, print, write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    # Texts that are cut are so on every side, and a provider that fails ends the measurement.
    logging.getLogger("oxembed").setLevel(logging.ERROR)
    try:
        for path in filter(None, (arguments.json, arguments.summary)):
            # Now, not after minutes of measuring.
            check_writable(path)
        results = measure(load(arguments))
        if arguments.json is not None:
            text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
            arguments.json.write_text(text + "\n", encoding="utf-8")
        if arguments.summary is not None:
            with arguments.summary.open("a", encoding="utf-8") as file:
                file.write(as_markdown(results))
        sys.stdout.write(as_text(results))
    except (MeasurementError, OxembedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
