"""The step "growth" of `make bench`: texts a second and memory as texts, cores and lengths grow.

    python benches/python/growth.py --json .bench/growth.json
    python benches/python/growth.py --texts-only --dtypes int8 --up-to 1000000 --json .bench/growth_million_int8.json
    python benches/python/growth.py --texts-only --dtypes float32 --up-to 1000000 --json .bench/growth_million.json

Texts: 1, 10, 100, ... of them stream through `encode_iter`, each number in a process of its own that makes its texts
while it embeds them: the sentences of data/sentences.txt again and again, in an order that is another every time, each
with a number that makes it unique. Memory is seen after every chunk, and the rate of every 10,000 texts is kept, so
that the end of a long stream can be compared with its beginning. `--dtypes float32=10000,int8` limits one of them.

Cores: 1 to all threads over data/short_texts.txt, in turn. Lengths: texts cut to 8, 16, ... 512 tokens, as many as come
to the same number of tokens, in turn. Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import memory
import numpy as np
import psutil
import record
from corpora import ALL_POSITIONS, MODEL, corpus, lines
from memory import peak_mib
from numpy.typing import NDArray
from record import summary
from sides import INT8, OXEMBED, Setting, WrongVectorsError, smallest_cosine
from timing import in_turn

from oxembed import Embedder
from oxembed._arguments.model import positive
from oxembed.diagnosis import doctor
from oxembed.exceptions import OxembedError

Vectors = NDArray[np.float32]
SIDE_OF = {"float32": OXEMBED, "int8": INT8}
WINDOW = 10_000
# float32 up to here by default, so that all of it fits in the time that `make bench` has.
FLOAT32_TEXTS = 30_000
UP_TO = 100_000
ROUNDS = 3
LENGTHS = [8, 16, 32, 64, 128, 256, 512]
TOKENS_A_LENGTH = 8192
WARM_UP_TEXTS = 4096
MOST_RUNS = 20
# Of every model, against float32 with one thread.
CHECKED_TEXTS = 8


def sizes(up_to: int) -> list[int]:
    """1, 10, 100 and so on, and `up_to` itself."""
    found = [1]
    while found[-1] * 10 <= up_to:
        found.append(found[-1] * 10)
    return found if found[-1] == up_to else [*found, up_to]


def unique_texts(number: int, seed: int = 0) -> Iterator[str]:
    """So many sentences, each with its number; whole rounds of the corpus, each in an order of its own."""
    sentences, chance, made = lines("sentences.txt"), random.Random(seed), 0
    while made < number:
        chance.shuffle(sentences)
        for sentence in sentences[: number - made]:
            made += 1
            yield f"{made} {sentence}"


def stream(number: int, dtype: str, threads: int) -> dict[str, Any]:
    """Embeds `number` texts in this process, more than once where they are few: what it took, and its memory."""
    model = Embedder(MODEL, provider="cpu", dtype=dtype, threads=threads)
    process = psutil.Process()
    # The first calls make room for the largest batches; that is no part of how the cost grows.
    last = _embedded(model, min(number, WARM_UP_TEXTS), process)
    runs = [_embedded(model, number, process) for _ in range(max(1, min(MOST_RUNS, 1000 // number)))]
    for run in runs:
        last = run
        if run["rows"] != number:
            raise RuntimeError(f"{number} texts went in, {run['rows']} rows came out")
    peak = peak_mib()
    expected = Embedder(MODEL, provider="cpu", threads=1).encode([last["text"]])
    return {
        "seconds": [run["marks"][-1][1] for run in runs],
        "processor_seconds": [run["processor_seconds"] for run in runs],
        "marks": runs[-1]["marks"],
        "peak_memory_mib": peak,
        "cosine_of_the_last_text": smallest_cosine(SIDE_OF[dtype], last["row"][None], expected),
    }


def _embedded(model: Embedder, number: int, process: psutil.Process) -> dict[str, Any]:
    """One stream of `number` texts: (texts, seconds, MiB) after every chunk, and its last text with its row."""
    text, rows, done = "", np.empty((0, 0), dtype=np.float32), 0
    marks: list[tuple[int, float, float]] = []

    def texts() -> Iterator[str]:
        nonlocal text
        for made in unique_texts(number):
            text = made
            yield made

    start, processor = time.perf_counter(), time.process_time()
    for rows in model.encode_iter(texts()):
        done += len(rows)
        marks.append((done, time.perf_counter() - start, process.memory_info().rss / 2**20))
    processor_seconds = time.process_time() - processor
    return {"rows": done, "marks": marks, "processor_seconds": processor_seconds, "text": text, "row": rows[-1]}


def in_its_own_process(number: int, dtype: str, threads: int) -> dict[str, Any]:
    """`stream`, by a process that this one starts."""
    command = [sys.executable, str(Path(__file__).resolve()), "--stream", str(number), dtype, str(threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row(number: int, found: dict[str, Any]) -> dict[str, Any]:
    """What a stream of `number` texts came to."""
    texts, seconds, memory_mib = (np.array(column, dtype=np.float64) for column in zip(*found["marks"], strict=True))
    result = {
        "texts": number,
        "texts_per_second": summary([number / each for each in found["seconds"]]),
        "cpu_seconds_per_1000_texts": summary([1e3 * each / number for each in found["processor_seconds"]]),
        "peak_memory_mib": found["peak_memory_mib"],
        "cosine_of_the_last_text": found["cosine_of_the_last_text"],
    }
    if number > WINDOW:
        # Chunks do not end where windows do: the time between them is taken to be even.
        ends = np.interp(np.arange(0, number + 1, WINDOW), [0, *texts], [0, *seconds])
        rates = WINDOW / np.diff(ends)
        late = memory_mib[texts > WINDOW]
        result |= {
            "window_texts": WINDOW,
            "texts_per_second_by_window": summary(rates.tolist()),
            "windows": [round(rate, 1) for rate in rates.tolist()],
            "throughput_against_the_first_window": result["texts_per_second"]["median"] / float(rates[0]),
            "memory_against_the_first_window": float(late.max() / memory_mib[texts <= WINDOW].max()),
        }
    return result


def by_texts(dtypes: dict[str, int], threads: int) -> dict[str, list[dict[str, Any]]]:
    """Streams of more and more texts, of each number format up to its number."""
    return {
        dtype: [row(number, in_its_own_process(number, dtype, threads)) for number in sizes(up_to)]
        for dtype, up_to in dtypes.items()
    }


def compared(
    models: dict[str, Embedder], texts: dict[str, list[str]], tokens: dict[str, int], rounds: int
) -> dict[str, dict[str, Any]]:
    """Rates of several models in turn, each on its own texts, with the memory of a process that has only that one."""

    def prepare(name: str) -> Callable[[int], Callable[[], Vectors]]:
        return lambda _: lambda: models[name].encode(texts[name])

    runs = in_turn({name: prepare(name) for name in models}, rounds)
    found: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        info = models[name].model_info()
        setting, few = Setting(Path(), info.threads, info.max_seq_length), texts[name][:CHECKED_TEXTS]
        reference = Embedder(MODEL, provider="cpu", threads=1, max_seq_length=info.max_seq_length).encode(few)
        found[name] = {
            "texts": len(texts[name]),
            "tokens": tokens[name],
            "texts_per_second": summary([len(texts[name]) / seconds for seconds in run.seconds]),
            "tokens_per_second": summary([tokens[name] / seconds for seconds in run.seconds]),
            "cpu_seconds_per_1000_texts": summary([1e3 * cpu / len(texts[name]) for cpu in run.processor_seconds]),
            "smallest_cosine": smallest_cosine(SIDE_OF[info.dtype], run.results[-1][: len(few)], reference),
            **memory.of_side(SIDE_OF[info.dtype], setting, texts[name]),
        }
    return found


def by_cores(dtype: str, threads: int, limit: int | None, rounds: int) -> dict[str, dict[str, Any]]:
    """1, 2, 4, ... threads and all of them, on the same short texts."""
    short = corpus("short_texts.txt", limit=limit)
    counts = [str(count) for count in sorted({*(2**power for power in range(threads.bit_length())), threads})]
    models = {count: Embedder(MODEL, provider="cpu", dtype=dtype, threads=int(count)) for count in counts}
    found = compared(models, dict.fromkeys(counts, short.texts), dict.fromkeys(counts, short.tokens), rounds)
    for count in counts:
        alone = found["1"]["texts_per_second"]["median"]
        found[count]["times_one_thread"] = found[count]["texts_per_second"]["median"] / alone
    return found


def by_lengths(dtype: str, threads: int, lengths: list[int], tokens: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Passages of each length, of the same number of tokens together."""
    words = " ".join(lines("long.txt")).split()
    names = [str(length) for length in lengths]
    # A word is a token at least, so a passage of so many words is cut to exactly that many tokens.
    texts = {
        str(length): [" ".join(words[start : start + length]) for start in range(0, max(tokens, length), length)]
        for length in lengths
    }
    models = {
        str(length): Embedder(MODEL, provider="cpu", dtype=dtype, threads=threads, max_seq_length=length)
        for length in lengths
    }
    return compared(models, texts, {name: int(name) * len(texts[name]) for name in names}, rounds)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the results")
    parser.add_argument("--dtypes", type=dtypes, default={}, metavar="D[=N],D", help="number formats, up to N texts")
    parser.add_argument("--up-to", type=positive, metavar="N", help="most texts (default: 100,000; float32 30,000)")
    parser.add_argument("--texts-only", action="store_true", help="leave out cores and lengths")
    parser.add_argument("--lengths", type=lengths, default=LENGTHS, metavar="N,N", help="tokens of a text (8 to 512)")
    parser.add_argument("--threads", type=positive, metavar="N", help="most threads (default: all)")
    parser.add_argument("--rounds", type=positive, default=ROUNDS, metavar="N", help="rounds of cores and lengths")
    parser.add_argument("--texts", type=positive, metavar="N", help="texts for cores, and 16 tokens a text for lengths")
    parser.add_argument("--stream", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.json is None and arguments.stream is None:
        parser.error("the following arguments are required: --json")
    return arguments


def lengths(text: str) -> list[int]:
    """Numbers of tokens, each once; no more than the model has positions."""
    found = sorted({positive(part.strip()) for part in text.split(",")})
    if found[-1] > ALL_POSITIONS:
        raise argparse.ArgumentTypeError(f"the model has {ALL_POSITIONS} positions, fewer than {found[-1]} tokens")
    return found


def dtypes(text: str) -> dict[str, int]:
    """Number formats, each with the most texts that are given for it, or 0."""
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, most = part.strip().partition("=")
        if name not in SIDE_OF:
            raise argparse.ArgumentTypeError(f"expected {' or '.join(SIDE_OF)}, got {name!r}")
        found[name] = positive(most) if most else 0
    return found


def command_of(arguments: argparse.Namespace) -> str:
    """What makes the results again, from the root of the repository."""
    words = ["python benches/python/growth.py", f"--json .bench/{arguments.json.name}"]
    if arguments.dtypes:
        chosen = (f"{name}={most}" if most else name for name, most in arguments.dtypes.items())
        words.append(f"--dtypes {','.join(chosen)}")
    for name in ("up_to", "threads", "texts"):
        if (value := getattr(arguments, name)) is not None:
            words.append(f"--{name.replace('_', '-')} {value}")
    if arguments.lengths != LENGTHS:
        words.append(f"--lengths {','.join(map(str, arguments.lengths))}")
    words += [f"--rounds {arguments.rounds}"] if arguments.rounds != ROUNDS else []
    return " ".join([*words, *(["--texts-only"] if arguments.texts_only else [])])


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every measurement."""
    threads = arguments.threads or doctor().threads.used
    default = {"float32": FLOAT32_TEXTS, "int8": UP_TO}
    chosen = arguments.dtypes or dict.fromkeys(SIDE_OF, 0)
    results: dict[str, Any] = {
        "threads": threads,
        "texts": {
            "of": "data/sentences.txt, shuffled anew in every round, each with its number",
            "by_dtype": by_texts(
                {dtype: most or arguments.up_to or default[dtype] for dtype, most in chosen.items()}, threads
            ),
        },
    }
    if arguments.texts_only:
        return results
    tokens = 16 * arguments.texts if arguments.texts else TOKENS_A_LENGTH
    results["cores"] = {
        "of": "data/short_texts.txt",
        "by_dtype": {dtype: by_cores(dtype, threads, arguments.texts, arguments.rounds) for dtype in chosen},
    }
    results["lengths"] = {
        "of": "passages of data/long.txt, cut to the length",
        "by_dtype": {
            dtype: by_lengths(dtype, threads, arguments.lengths, tokens, arguments.rounds) for dtype in chosen
        },
    }
    return results


def main() -> int:
    """Measure and write; return 0, or 1 after a line about what keeps it from that, or 130 after Ctrl-C."""
    arguments = parse()
    if arguments.stream:
        number, dtype, threads = arguments.stream
        json.dump(stream(int(number), dtype, int(threads)), sys.stdout)
        return 0
    # Texts that are cut to a length are so on purpose.
    logging.getLogger("oxembed").setLevel(logging.ERROR)
    start = time.monotonic()
    try:
        results = measure(arguments)
        record.write(arguments.json, "growth", command_of(arguments), time.monotonic() - start, results)
    except (OxembedError, WrongVectorsError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; nothing was written\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
