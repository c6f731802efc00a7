"""How much of what this CPU can do is used, and where the rest goes: step `limit` of `make bench`.

    python benches/python/limit.py --json .bench/limit.json

What `oxembed bench --profile` measures, by the same code, on data/short_texts.txt, in float32 and int8. The limit is
the speed of products of the model's own matrices in float32, measured in the same rounds; int8 is compared with that
one, too, and may be above it. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import record

from oxembed import Embedder
from oxembed._arguments.model import positive
from oxembed._bench.breakdown import breakdown
from oxembed._bench.measurement import measure
from oxembed._bench.report import lines
from oxembed.exceptions import OxembedError

ROOT = Path(__file__).resolve().parents[2]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="as for Embedder (default: the embedded model)")
    parser.add_argument("--texts", type=Path, default=ROOT / "data" / "short_texts.txt", help="a text a line")
    parser.add_argument("--threads", type=positive, metavar="N", help="threads (default: all)")
    parser.add_argument("--rounds", type=positive, default=9, help="rounds of everything (default: 9)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    return parser.parse_args()


def measured(arguments: argparse.Namespace, texts: list[str], dtype: str) -> dict[str, Any]:
    """One type of the arithmetic; its tables go to standard output."""

    def announce(what: str, steps: int) -> None:
        sys.stderr.write(f"{dtype}: measuring {what}\n")

    model = Embedder(arguments.model, provider="cpu", dtype=dtype, threads=arguments.threads)
    found = measure(model, texts, arguments.rounds, profile=True, announce=announce)
    profile = breakdown(found)
    sys.stdout.write(f"{found.model.name}, {dtype}, {found.model.threads} threads\n\n")
    sys.stdout.writelines(f"{line}\n" for line in [*lines(found, profile), ""])
    return {"threads": found.model.threads, **found.as_dict(), "profile": profile.as_dict()}


def main() -> int:
    """Measure, print, write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    start = time.monotonic()
    try:
        lines_of_file = arguments.texts.read_text(encoding="utf-8").splitlines()
        texts = list(dict.fromkeys(line for line in lines_of_file if line.strip()))
        results = {dtype: measured(arguments, texts, dtype) for dtype in ("float32", "int8")}
        if arguments.json is not None:
            command = "python benches/python/limit.py --json .bench/limit.json"
            record.write(arguments.json, "limit", command, time.monotonic() - start, results)
    except (OxembedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
