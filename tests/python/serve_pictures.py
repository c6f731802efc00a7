"""Take the pictures of the status page, of a service with two models under a load that rises and falls.

    python tests/python/serve_pictures.py docs/pictures

It needs Chromium or Chrome, and a minute.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import threading
import time
from pathlib import Path

import browser
from servers import Server, serving

SECONDS = 60
WIDTH = 1280
WORDS = Path(__file__).resolve().parents[2].joinpath("data", "short_texts.txt").read_text(encoding="utf-8").splitlines()


def ask(server: Server, model: str, most: int, stop: threading.Event) -> None:
    """Ask for a few texts again and again, at a pace that goes up and down."""
    draw = random.Random(most)
    start = time.monotonic()
    while not stop.is_set():
        texts = [draw.choice(WORDS) for _ in range(draw.randint(1, most))]
        server.ask("/v1/embeddings", {"input": texts, "model": model})
        time.sleep(0.05 + 0.05 * math.sin((time.monotonic() - start) / 6))


def main() -> int:
    """Write both pictures; return the exit status."""
    parser = argparse.ArgumentParser(description="Take the pictures of the status page.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    if browser.program() is None:
        print("error: there is no Chromium or Chrome on the PATH; install one", file=sys.stderr)
        return 1
    models = ("--model", "all-MiniLM-L6-v2", "--model", "search=all-MiniLM-L6-v2")
    with serving("--provider", "cpu", "--auto-truncate", *models) as server, browser.browsing() as page:
        page.open(server.url)
        stop = threading.Event()
        loads = [("all-MiniLM-L6-v2", 3), ("all-MiniLM-L6-v2", 10), ("search", 2)]
        threads = [threading.Thread(target=ask, args=(server, *load, stop)) for load in loads]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        for name, dark in (("light", False), ("dark", True)):
            picture = page.picture(dark=dark, width=WIDTH)
            (folder / f"serve_status_{name}.png").write_bytes(picture)
        stop.set()
        for thread in threads:
            thread.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
