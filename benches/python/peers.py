"""oxembed against every alternative on this machine: the same texts, the same model, the vectors compared.

    python benches/python/peers.py --json .bench/peers.json
    python benches/python/peers.py --only fastembed,onnxruntime --rounds 3
    python benches/python/peers.py --skip-install                 # with what earlier runs installed
    python benches/python/peers.py --peer 'mine=python mine.py'   # another program that speaks the protocol

Each peer gets an environment of its own below `.bench/peers` (12 GB in all on Linux, where torch brings NVIDIA's
libraries; `peers_environment.py` says how to spare them) and runs in a process of its own, offline. In every round
each peer embeds the texts once, then one text 40 times, while all others are stopped; ratios are of the same round. A
peer whose rounds have taken 10 seconds is in no more of them: a slow one is measured once, after a pass to warm up.
Where two rows differ by "careful", the first is the program at its defaults and the other as a user who measures would
set it: threads named, the fastest of several batch sizes, the model's file optimized where there is a way to do it.

A float32 peer whose smallest cosine to oxembed's vectors is below 0.999 is disqualified. A peer that cannot be
installed or fails is a row that says why. Nothing is written outside `.bench`, except what cargo keeps of crates, and
no model is downloaded: what peers read is made of the model's folder. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import record
from coreml import positive
from peers_catalogue import ENVIRONMENTS, FORMS, OXEMBED, OXEMBED_INT8, ROWS, Row
from peers_environment import Environments, PeerError
from peers_measurements import Measurement, Work, figures, groups
from peers_models import Models
from peers_report import as_notes, as_text
from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
BENCH = ROOT / ".bench"
PEERS = tuple(dict.fromkeys(row.peer for row in ROWS))


def names(text: str) -> list[str]:
    """Names of peers."""
    found = [name.strip() for name in text.split(",")]
    for name in found:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"there is no peer {name!r}; there are {', '.join(PEERS)}")
    return found


def seconds(text: str) -> float:
    """A time above zero."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"expected seconds, a number above 0, got {text!r}")
    return found


def own_peer(text: str) -> Row:
    """A program of the user's, `NAME=COMMAND`."""
    name, found, command = text.partition("=")
    if not (name and found and command.strip()):
        raise argparse.ArgumentTypeError(f"expected NAME=COMMAND, got {text!r}")
    return Row(name, name, "", "", command=tuple(shlex.split(command)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--only", type=names, metavar="A,B", help=f"only these peers, of {', '.join(PEERS)}")
    parser.add_argument("--peer", type=own_peer, action="append", default=[], metavar="NAME=COMMAND", help="one more")
    parser.add_argument("--rounds", type=positive, default=5, help="times the texts are embedded (default: 5)")
    parser.add_argument("--budget", type=seconds, default=10, help="seconds of a peer's rounds (default: 10)")
    parser.add_argument("--texts", type=Path, default=ROOT / "data" / "short_texts.txt", help="a text a line")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N texts (default: all)")
    parser.add_argument("--together", type=positive, default=8, help="peers in memory at once (default: 8)")
    parser.add_argument("--patience", type=seconds, default=600, help="seconds an answer may take (default: 600)")
    parser.add_argument("--skip-install", action="store_true", help="use what is installed, install nothing")
    parser.add_argument("--bench", type=Path, default=BENCH, help="folder for what is kept (default: .bench)")
    return parser.parse_args()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def given_work(arguments: argparse.Namespace) -> Work:
    """The texts, and how often."""
    texts = [line for line in arguments.texts.read_text(encoding="utf-8").splitlines() if line][: arguments.limit]
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.enable_truncation(json.loads((MODEL / "sentence_bert_config.json").read_text())["max_seq_length"])
    tokenizer.no_padding()
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(texts))
    return Work(texts, tokens, arguments.rounds, cores(), arguments.patience, arguments.budget)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every row's figures."""
    work, kept = given_work(arguments), arguments.bench.resolve() / "peers"
    environments = Environments(kept, ENVIRONMENTS, may_install=not arguments.skip_install)
    measurement = Measurement(work, kept, environments, Models(MODEL, kept, FORMS, environments))
    rows = [row for row in ROWS if arguments.only is None or row.peer in arguments.only] + arguments.peer
    found: dict[str, dict[str, Any]] = {}
    for group in groups(rows, arguments.together):
        sides = measurement.measure(group)
        for side in sides:
            if side.row not in (OXEMBED, OXEMBED_INT8) or side.row.name not in found:
                disk = None if side.failure or side.row.command else environments.bytes_of(side.row.environment)
                found[side.row.name] = figures(side, sides, work, disk)
    return {
        "texts": len(work.texts),
        "tokens": work.tokens,
        "rounds": work.rounds,
        "threads": work.threads,
        "rows": list(found.values()),
    }


def command_of(arguments: Sequence[str]) -> str:
    """What makes the results again."""
    return shlex.join(["python", "benches/python/peers.py", *arguments])


def main() -> int:
    """Measure, print, write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    logging.getLogger("oxembed").setLevel(logging.ERROR)
    # Else the peers, most of them stopped, would outlive it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start = time.perf_counter()
    try:
        results = measure(arguments)
        if arguments.json is not None:
            record.write(arguments.json, "peers", command_of(sys.argv[1:]), time.perf_counter() - start, results)
    except (PeerError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    sys.stdout.write(as_text(results) + "\n" + as_notes(results, record.machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
