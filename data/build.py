"""Build the corpora for benchmarks from Python's enhancement proposals: long_tailed.txt and long.txt.

    git clone https://github.com/python/peps && git -C peps checkout COMMIT    # COMMIT stands below
    python data/build.py peps/peps

Only proposals that say of themselves that they are in the public domain are read, and of these the prose: code, tables,
headers, references and everything with an address in it are left out. What is drawn is decided by the texts alone (by
their sha256), so the same bytes come out every time. Needs Python 3.11 and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

COMMIT = "ba4deeb7969588d937da609008d05bb83a47b1ab"
SHA256 = {
    "long_tailed.txt": "9f580a9154b80784b9d94b5d1e099e148c47d9304240242c34c954f66c69068c",
    "long.txt": "97cd9da4771a6c1ce8f4945a89e44ef8d7f1f502c6933d1fdc6d0100abfe05cc",
}
# Kind of text, fewest and most words, how many: many labels, fewer sentences, few whole sections.
LONG_TAILED = (
    ("heading", 1, 12, 700),
    ("item", 3, 40, 550),
    ("paragraph", 8, 60, 500),
    ("paragraph", 61, 200, 210),
    ("section", 201, 450, 40),
)
DOCUMENTS = 100
DOCUMENT_WORDS = (700, 1500)

LEFT_OUT = re.compile(
    r"^(references|copyright|footnotes|acknowledge?ments?|thanks|change ?log|(change|revision|version) history|history|"
    r"authors?|appendix.*|local variables|bibliography|resources|links|.*implementation)$",
    re.IGNORECASE,
)
UNDERLINE = re.compile(r"([=\-~^\"'`+*#:.])\1{2,}")
ITEM = re.compile(r"(?:[-*+•]|\(?(?:\d{1,2}|[a-zA-Z#])[.)])\s+")
MARKUP = (
    (re.compile(r":pep:`(\d+)`"), r"PEP \1"),
    (re.compile(r":[\w:+.-]+:`~?([^`<]+?)(?:\s*<[^`]*>)?`"), r"\1"),
    (re.compile(r"`([^`<]+?)\s*<[^`]*>`_{1,2}"), r"\1"),
    (re.compile(r"``(.+?)``"), r"\1"),
    (re.compile(r"`([^`]+)`_{0,2}"), r"\1"),
    (re.compile(r"\s*\[[#*]?[\w.-]*\]_"), ""),
    (re.compile(r"\*\*(.+?)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*]*?)\*(?![\w*])"), r"\1"),
    (re.compile(r"\|(\w+)\|_?"), r"\1"),
    (re.compile(r"\b(\w+)_(?=[\s.,;:)])"), r"\1"),
    (re.compile(r"::$"), ":"),
)
NOT_PROSE = re.compile(r"@|https?:|>>>|[{}|<>`=\\]|\*\*|__\w|\b_\w|\.\. ")


class Block(NamedTuple):
    """A piece of a proposal: its heading, an item of a list, a paragraph, or a section of several paragraphs."""

    kind: str
    text: str


def plain(text: str) -> str:
    """`text` without its markup and line breaks."""
    text = " ".join(text.split())
    for pattern, replacement in MARKUP:
        text = pattern.sub(replacement, text)
    return text.strip()


def is_prose(text: str) -> bool:
    """Whether `text` reads as written language: nothing of addresses, code and signs, and mostly letters."""
    letters = sum(letter.isalpha() or letter.isspace() for letter in text)
    return text.isprintable() and NOT_PROSE.search(text) is None and letters >= 0.9 * len(text)


def paragraphs(source: str) -> Iterator[Block]:
    """Headings, items and paragraphs of the body, in order; literal blocks, directives and tables are skipped."""
    body = source.partition("\n\n")[2]
    literal = False
    for chunk in re.split(r"\n\s*\n", body):
        lines = chunk.strip("\n").splitlines()
        if not lines:
            continue
        indented = lines[0][:1].isspace()
        if indented and literal:
            continue
        if len(lines) > 1 and UNDERLINE.fullmatch(lines[0].strip()):
            lines = lines[1:]
        if len(lines) > 1 and UNDERLINE.fullmatch(lines[1].strip()):
            yield Block("heading", plain(lines[0]))
            lines = lines[2:]
        text = "\n".join(lines)
        literal = text.rstrip().endswith("::") or text.startswith("..")
        if not text or indented or text.startswith(("..", ">>>", "|")) or re.search(r"^[+|=\-]{3}|^ {2,}[>$#]", text):
            continue
        yield from _written(text)


def _written(text: str) -> Iterator[Block]:
    """A chunk as items, where it is a list, else as one paragraph."""
    if not ITEM.match(text):
        yield Block("paragraph", plain(text))
        return
    for item in re.split(r"\n(?=(?:[-*+•]|\(?(?:\d{1,2}|[a-zA-Z#])[.)])\s)", text):
        yield Block("item", plain(ITEM.sub("", item, count=1)))


def proposal(source: str) -> Iterator[Block]:
    """The blocks of a proposal that are prose, and its sections as blocks."""
    title = re.search(r"^Title: (.+)$", source, re.MULTILINE)
    if title:
        yield Block("heading", plain(title[1]))
    skip, section = False, list[str]()
    for block in paragraphs(source):
        if block.kind == "heading":
            if len(section) > 1:
                yield Block("section", " ".join(section))
            skip, section = LEFT_OUT.match(block.text) is not None, []
        if skip or not is_prose(block.text):
            continue
        if block.kind != "heading":
            section.append(block.text)
        yield block
    if len(section) > 1:
        yield Block("section", " ".join(section))


def in_order_of_chance(texts: Iterable[str]) -> list[str]:
    """Each text once, in an order that only the texts decide."""
    return sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).digest())


def document(blocks: Iterable[Block]) -> str:
    """The first paragraphs and items of a proposal, to about the most words that a document has."""
    kept, words = list[str](), 0
    for block in blocks:
        if block.kind in ("paragraph", "item") and words < DOCUMENT_WORDS[1]:
            kept.append(block.text)
            words += len(block.text.split())
    return " ".join(kept) if words >= DOCUMENT_WORDS[0] else ""


def build(folder: Path) -> dict[str, list[str]]:
    """The texts of each corpus."""
    proposals = []
    for path in sorted(folder.glob("pep-[0-9][0-9][0-9][0-9].rst")):
        source = path.read_text(encoding="utf-8")
        if re.search(r"public\s+domain", source.rpartition("Copyright")[2], re.IGNORECASE):
            proposals.append(list(proposal(source)))
    drawn: list[str] = []
    for kind, fewest, most, number in LONG_TAILED:
        candidates = (block.text for blocks in proposals for block in blocks if block.kind == kind)
        fitting = in_order_of_chance(text for text in candidates if fewest <= len(text.split()) <= most)
        drawn += fitting[:number]
    documents = in_order_of_chance(text for text in map(document, proposals) if text)[:DOCUMENTS]
    return {"long_tailed.txt": in_order_of_chance(drawn), "long.txt": documents}


def main() -> int:
    """Write both files; return 0, or 1 where the sources are not those of the commit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("proposals", type=Path, help="the folder of pep-0001.rst and the others")
    written = {
        name: "".join(f"{text}\n" for text in texts) for name, texts in build(parser.parse_args().proposals).items()
    }
    for name, text in written.items():
        found = hashlib.sha256(text.encode()).hexdigest()
        if found != SHA256[name]:
            sys.stderr.write(f"{name}: sha256 {found}, not {SHA256[name]}: are the proposals those of {COMMIT}?\n")
            return 1
    for name, text in written.items():
        (Path(__file__).parent / name).write_text(text, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
