"""Make `jargon.txt` and `sentences.txt` from Debian's package of the Jargon File.

    apt-get download dict-jargon
    python data/build.py dict-jargon_4.4.7-3.1_all.deb

Needs Python 3.11 or newer, nothing else. The same bytes come out every time: the package is held to its sha256 sum,
and what is kept, cut or picked depends on nothing but its text.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import math
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PACKAGE_SHA256 = "405f8168d7994ed2cb71407bb95493daec2e9aa66fc0461dafa74a9d6728a8c1"

# A definition is cut after the last whole paragraph or sentence within this many words: it reads well in a terminal,
# and every line fits in the 256 tokens that all-MiniLM-L6-v2 reads.
MAX_WORDS = 60
MIN_WORDS = 3

SENTENCES = 2000
MIN_SENTENCE_WORDS = 4
MAX_SENTENCE_WORDS = 40
# The file's own sentences average 18 words, more than what people usually embed. The weight of a sentence in
# the draw falls exponentially with its length, at this rate a word: the mean comes to 11, with a long tail.
SHORTNESS = 0.22

# The file is a document of its time and its humour. What is obscene or about people's bodies, origins, minds or
# deaths is left out: a paragraph where one of these words occurs, and the whole entry where its first one does.
UNFIT = re.compile(
    r"""
    fuck | f\*\* | shit(?!ake) | \bcrap(?!tex) | \bass\b | dumbass | asshole | bastard | bitch | \bpiss | \bpee\b
    | dickless | (?-i:\bdick\b) | \bcock\b | sex(?!adec) | porn | pr0n | penis | \bclit | \btits?\b | tit'ee | nipple
    | breast
    | gasm | rasterbat | masturbat | dildo | erotic | condom | hooker | prostitut | \brap(?:e|ed|es|ing)\b | \bgay\b
    | lesbian | \bfag\b | girlie | nigg | nazi | hitler | aryan | racis | ethnic(?!-swedish) | retard | \bmoron
    | cretin | \bidiots?\b
    | blonde | naked | \bnude | \bwank | bollix | \bbugger | testic | scrot | douche | turd\b | urinat | pubic | bondage
    | sadis | masoch | gang.?bang | lobotom | brain.?damage | brain.?dead | mental/emotional | mental\ problem
    | playboy | obscen | lewd | \blust | terroris | suicid | marijuana | cocaine | \bLSD\b | (?<!brain\ )\bfart
    | vomit | puke | anal-ret | feminis | redneck | virgin\b | cripple(?!ware) | slut\b | whore | castrat
    | genital | groin
    | boink | bonk | menstru | \bwomen\b | \bwoman\b | scatolog | genocid | holocaust | rectal | crotch | mongol
    | oriental | \bgypp | negro | pervert | kinky | holy\ war\ against | excret | diarr | corpse | anatomic
    """,
    re.IGNORECASE | re.VERBOSE,
)
UNFIT_HEADWORDS = frozenset(
    {
        "All hardware sucks, all software sucks.",
        "anti-idiotarianism",
        "bagbiter",
        "bagbiting",
        "barfmail",
        "barfulation",
        "barfulous",
        "bigot",
        "BOFH",
        "brain fart",
        "bullschildt",
        "catatonic",
        "chickenboner",
        "Chinese Army technique",
        "choad",
        "clue-by-four",
        "CrApTeX",
        "cretin",
        "cretinous",
        "crippleware",
        "cthulhic",
        "DAU",
        "dead beef attack",
        "demented",
        "dickless workstation",
        "Dr. Fred Mbogo",
        "drool-proof paper",
        "drugged",
        "DSW",
        "eat flaming death",
        "Exon",
        "fascist",
        "FM",
        "fool",
        "fscking",
        "FUBAR",
        "furrfu",
        "gang bang",
        "gender mender",
        "Godwin's Law",
        "grilf",
        "gritch",
        "holy penguin pee",
        "hot chat",
        "HP-SUX",
        "IBM",
        "ID10T error",
        "infant mortality",
        "IYFEG",
        "JEDR",
        "Jeff K.",
        "kamikaze packet",
        "KLB",
        "Kool-Aid",
        "lamer",
        "LART",
        "lenna",
        "lobotomy",
        "luser",
        "maggotbox",
        "microLenat",
        "microReid",
        "Mongolian Hordes technique",
        "monkey, scratch",
        "MOTAS",
        "MOTOS",
        "MOTSS",
        "mu",
        "nadger",
        "pastie",
        "point-and-drool interface",
        "raster blaster",
        "read-only user",
        "relay rape",
        "roach",
        "room-temperature IQ",
        "RTBM",
        "RTFB",
        "RTFM",
        "RTFS",
        "rubber-hose cryptanalysis",
        "scratch monkey",
        "screw",
        "screwage",
        "SNAFU principle",
        "snarf & barf",
        "spod",
        "squirrelcide",
        "stack puke",
        "STFW",
        "Stupids",
        "sucking mud",
        "Suzie COBOL",
        "terminal brain death",
        "tits on a keyboard",
        "turist",
        "twink",
        "Unix brain damage",
        "Unix weenie",
        "virgin",
        "wank",
        "warez d00dz",
        "weenie",
        "XXX",
        "YABA",
        "zbeba",
        "zipperhead",
    }
)

# Pictures, tables and programs, and the notes that go with the drawings of the printed editions.
NOT_PROSE = re.compile(r"[─-╿□|\\^~]{2}|[─-╿□]|[^\s.]\ {3,}\S|[-=+*/_<>.]{5,}|\bcartoon\b", re.MULTILINE)

REFERENCE = re.compile(r"\{\s*([^{}]*?)\s*\}")
REFERENCES = re.compile(
    r"(?P<before>[;,]\s)?\b(?P<verb>[Ss]ee also|[Ss]ee|[Cc]ompare|[Cc]ontrast|[Oo]ppose)\s"
    r"(?P<names>(?:(?:and\s)?\{[^{}]*\}(?:\s\(sense \d\))?,?\s?)+)(?P<after>[.;])?"
)
PART = r"(?:n|v|vt|vi|adj|adv|interj|imp|excl|pref|suff|prov|quant|pl|obs|abbrev|poss)\."
PART_OF_SPEECH = re.compile(rf"(^|\] |\b\d+[a-z]?\. )(?:{PART}[,\s]*)+(?=[A-Z“‘\[(])")
LABEL = re.compile(r"(^|\b\d+[a-z]?\. )\[(?:(?:very|fairly|extremely) )?(?:common|techspeak|rare|obs\.)\]\s*")
ONLY_REFERENCE = re.compile(
    r"(?:\[[^\]]*\] )?(?:See(?: also| under)?|Syn\.?|Syn\. for|Synonym for|Var\.|Same as|Compare)\b[^.;]*\.?"
)

ABBREVIATION = re.compile(
    r"(?:^|[\s(“‘/])(?:[A-Za-z]|e\.?g|i\.?e|esp|etc|vs|cf|viz|approx|poss|prob|orig|abbrev|var|syn|alt|pl|adj|adv|interj"
    r"|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Inc|Co|Corp|Ltd|No|Vol|Fig|ed|eds|pp|p|ca|c|U\.S|U\.K|Jan|Feb|Mar|Apr|Aug|Sept?|Oct"
    r"|Nov|Dec|\d+[a-z]?)\.$",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"[.!?]+[”’)\]]*(?=\s+[A-Z“‘(\[\d])")
# A sentence for the benchmark: plain words from a capital to a full stop, no cross-references, brackets or addresses.
PLAIN_SENTENCE = re.compile(r"“?[A-Z][A-Za-z0-9 ,;:'’‘“”()\-—&+./%$#*é]*[A-Za-z0-9”’)][.!?]”?")
CROSS_REFERENCE = re.compile(r"\b(?:See|Compare|Contrast|Oppose|Opposite|Syn|Synonym|Var|Cf|[Ss]ee also)\b")


class Entry(NamedTuple):
    """One entry of the dictionary: its headword and its paragraphs of prose, clean."""

    headword: str
    paragraphs: list[str]


def deb_member(deb: bytes, prefix: str) -> bytes:
    """Return the first member of a .deb (an `ar` archive) whose name starts with `prefix`."""
    position = len(b"!<arch>\n")
    while position < len(deb):
        name = deb[position : position + 16].decode("ascii").strip()
        size = int(deb[position + 48 : position + 58])
        position += 60
        if name.startswith(prefix):
            return deb[position : position + size]
        position += size + size % 2
    raise ValueError(f"no {prefix} in the package")


def base64_number(digits: str) -> int:
    """Decode a number of the dictd index: base 64, most significant digit first."""
    return int.from_bytes(base64.b64decode("A" * (-len(digits) % 4) + digits), "big")


def dictionary(deb: bytes) -> Iterator[str]:
    """Yield the text of every entry, in the order of the file, by the offsets in the dictd index."""
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(deb_member(deb, "data.tar"))) as archive:
        for name in ("dict.dz", "index"):
            file = archive.extractfile(f"./usr/share/dictd/jargon.{name}")
            if file is None:
                raise ValueError(f"jargon.{name} is not a file in the package")
            contents[name] = file.read()
    text = gzip.decompress(contents["dict.dz"])
    spans: set[tuple[int, int]] = set()
    for line in contents["index"].decode().splitlines():
        headword, offset, length = line.split("\t")
        if not headword.startswith("00"):
            spans.add((base64_number(offset), base64_number(length)))
    for start, length_of in sorted(spans):
        yield text[start : start + length_of].decode()


def fit_references(match: re.Match[str]) -> str:
    """Leave the unfit entries out of a list such as “See also {a}, {b}, and {c}.”."""
    names: list[str] = REFERENCE.findall(match["names"])
    fit = [name for name in names if name not in UNFIT_HEADWORDS and not UNFIT.search(name)]
    if len(fit) == len(names):
        return match[0]
    if fit:
        return f"{match['before'] or ''}{match['verb']} {', '.join(fit)}{match['after'] or ' '}"
    return "." if match["before"] and match["after"] == "." else match["before"] or ""


def clean(paragraph: str) -> str:
    """Fold the white space and drop the marks of the dictionary: braces, labels, parts of speech."""
    text = paragraph.replace("\xad", "").replace("\xa0", " ").replace("\u200b", "")
    text = REFERENCES.sub(fit_references, " ".join(text.split()))
    text = REFERENCE.sub(r"\1", text).replace("{", "").replace("}", "")
    text = LABEL.sub(r"\1", text)
    text = PART_OF_SPEECH.sub(r"\1", text)
    text = re.sub(r"([“‘(\[]) +", r"\1", text)
    text = re.sub(r"(?<=\w) ([.,;])(?=\s|$)", r"\1", text)
    return " ".join(text.split())


def parse(text: str) -> Entry | None:
    """Take an entry apart; None if it is not fit or not prose."""
    # The headword, then a line or two of pronunciation and part of speech, a blank line, the body.
    head, _, body = text.partition("\n\n")
    headword = clean(head.split("\n")[0])
    if headword in UNFIT_HEADWORDS or UNFIT.search(headword):
        return None
    paragraphs: list[str] = []
    first = True
    for raw in re.split(r"\n\s*\n", body.strip("\n")):
        paragraph = clean(raw)
        # The dictionary has the heading of the next letter at the end of a letter's last entry.
        if not re.search(r"\w\w|\d", paragraph):
            continue
        if UNFIT.search(paragraph):
            if first:
                return None
        elif not NOT_PROSE.search(raw.strip()) and not all(line.startswith(" " * 8) for line in raw.split("\n")):
            paragraphs.append(paragraph)
        # A line such as “[Usenet]” alone is not the definition yet.
        first = first and paragraph.startswith("[") and paragraph.endswith("]")
    return Entry(headword, paragraphs) if paragraphs else None


def split_sentences(text: str) -> list[str]:
    """Split a paragraph into sentences."""
    sentences: list[str] = []
    start = 0
    for match in SENTENCE_END.finditer(text):
        if match[0] == "." and ABBREVIATION.search(text[start : match.end()]):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [sentence for sentence in sentences if sentence]


def shorten(paragraphs: Iterable[str], limit: int) -> str:
    """Join whole paragraphs up to `limit` words; of a first one that is too long, whole sentences."""
    kept: list[str] = []
    words = 0
    for paragraph in paragraphs:
        if words + len(paragraph.split()) <= limit:
            kept.append(paragraph)
            words += len(paragraph.split())
            continue
        if words < limit // 3:
            for sentence in split_sentences(paragraph):
                if words + len(sentence.split()) > limit:
                    break
                kept.append(sentence)
                words += len(sentence.split())
        break
    # An unfinished sentence introduced something that was cut.
    while kept and not re.search(r"[.!?”)][’'”)\]]*$", kept[-1]):
        rest = split_sentences(kept.pop())[:-1]
        kept.extend([" ".join(rest)] if rest else [])
    return " ".join(kept)


def definitions(entries: Iterable[Entry]) -> list[str]:
    """One line an entry: “headword: text”."""
    lines: list[str] = []
    for entry in entries:
        text = shorten(entry.paragraphs, MAX_WORDS)
        if len(text.split()) < MIN_WORDS or ONLY_REFERENCE.fullmatch(text):
            continue
        lines.append(f"{entry.headword}: {text}")
    return lines


def plain(sentence: str) -> bool:
    """Whether a sentence stands alone: whole, balanced, of ordinary words."""
    words = sentence.split()
    return (
        MIN_SENTENCE_WORDS <= len(words) <= MAX_SENTENCE_WORDS
        and PLAIN_SENTENCE.fullmatch(sentence) is not None
        and CROSS_REFERENCE.search(sentence) is None
        and sentence.count("“") == sentence.count("”")
        and sentence.count("(") == sentence.count(")")
        and "//" not in sentence
        and sum(word.strip("“”‘’().,;:!?").replace("-", "").replace("'", "").isalpha() for word in words)
        >= 0.7 * len(words)
    )


def rank(sentence: str) -> float:
    """A weighted random order that only the text decides: the lowest ranks are a sample."""
    digest = hashlib.sha256(sentence.encode()).digest()
    uniform = (int.from_bytes(digest[:6], "big") + 1) / (2**48 + 1)
    return -math.log(uniform) * math.exp(SHORTNESS * len(sentence.split()))


def benchmark_sentences(entries: Iterable[Entry]) -> list[str]:
    """Pick the sentences, in the order of the file."""
    pool: dict[str, None] = {}
    folded: set[str] = set()
    for entry in entries:
        for paragraph in entry.paragraphs:
            for sentence in split_sentences(paragraph):
                key = re.sub(r"\W+", " ", sentence).strip().casefold()
                if key not in folded and plain(sentence):
                    folded.add(key)
                    pool[sentence] = None
    picked = set(sorted(pool, key=rank)[:SENTENCES])
    if len(picked) < SENTENCES:
        raise ValueError(f"only {len(picked)} sentences, expected {SENTENCES}")
    return [sentence for sentence in pool if sentence in picked]


def main() -> int:
    """Write both files; return the exit status."""
    parser = argparse.ArgumentParser(description="Make jargon.txt and sentences.txt from the dict-jargon package.")
    parser.add_argument("deb", type=Path, help="dict-jargon_4.4.7-3.1_all.deb")
    parser.add_argument("--output", type=Path, default=HERE, help="the folder to write to (default: this script's)")
    options = parser.parse_args()
    try:
        deb: bytes = options.deb.read_bytes()
        if hashlib.sha256(deb).hexdigest() != PACKAGE_SHA256:
            raise ValueError(f"{options.deb}: sha256 is not {PACKAGE_SHA256}")
        entries = [entry for entry in map(parse, dictionary(deb)) if entry is not None]
        outputs = {"jargon.txt": definitions(entries), "sentences.txt": benchmark_sentences(entries)}
        for name, lines in outputs.items():
            data = ("\n".join(lines) + "\n").encode()
            (options.output / name).write_bytes(data)
            words = sum(len(line.split()) for line in lines) / len(lines)
            print(f"{name}: {len(lines)} lines, {words:.1f} words a line, sha256 {hashlib.sha256(data).hexdigest()}")
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
