"""The pages of `oxembed serve` in a real browser: what they show is what happened, and they run nothing else."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import Server, serving, texts_of

if sys.platform == "win32":
    pytest.skip("the browser is driven over a pipe of Unix", allow_module_level=True)

import browser

if TYPE_CHECKING:
    from browser import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "src" / "serve" / "pages"
KEY = "a key"
# A name that would be markup, were it not shown as text.
ODD = "<b>a name</b>"
needs_browser = pytest.mark.skipif(browser.program() is None, reason="there is no Chromium or Chrome on the PATH")


@pytest.fixture
def server() -> Iterator[Server]:
    models = ("--model", "mini=all-MiniLM-L6-v2", "--model", f"{ODD}=all-MiniLM-L6-v2")
    with serving("--provider", "cpu", "--threads", "1", *models, variables={"OXEMBED_API_KEYS": KEY}) as running:
        yield running


@pytest.fixture
def page() -> Iterator[Page]:
    with browser.browsing() as opened:
        yield opened
        assert opened.complaints == []


def give_key(page: Page, key: str) -> None:
    page.until("!document.getElementById('key').hidden")
    page.evaluate(f"document.getElementById('key-text').value = {key!r}")
    page.evaluate("document.querySelector('#key button').click()")


def cells(page: Page, table: str) -> list[dict[str, str]]:
    """The rows of a table, by the titles of its columns."""
    read = "[...{}.querySelectorAll('th, td')].map((cell) => cell.innerText.trim())"
    head = page.evaluate(read.format(f"document.querySelector('#{table} thead tr')"))
    body = page.evaluate(f"[...document.querySelectorAll('#{table} tbody tr')].map((row) => {read.format('row')})")
    return [dict(zip(head, row, strict=True)) for row in body]


def quantile(buckets: list[dict[str, Any]], share: float) -> float:
    """As PromQL's histogram_quantile has it, in milliseconds."""
    rank, below, reached = share * buckets[-1]["count"], 0.0, 0
    for bucket in buckets:
        if bucket["count"] >= rank:
            within: float = (rank - reached) / (bucket["count"] - reached)
            return 1000 * (below + (float(bucket["seconds"]) - below) * within)
        below, reached = bucket["seconds"], bucket["count"]
    raise AssertionError("no bucket holds it")


@needs_browser
def test_the_status_page_shows_what_happened(server: Server, page: Page) -> None:
    for count in (1, 5, 30):
        assert server.ask("/v1/embeddings", {"input": list(texts_of(count)), "model": "mini"}, key=KEY).status == 200
    status = server.ask("/status.json", key=KEY).json()
    page.open(server.url)
    give_key(page, "wrong")
    page.until("document.getElementById('key-why').innerText.includes('does not know')")
    give_key(page, KEY)
    page.until("!document.getElementById('main').hidden")
    mini, odd = cells(page, "traffic")
    assert (mini["Model"], mini["Requests"], mini["Texts"], mini["Texts cut"]) == ("mini", "3", "36", "0")
    buckets = status["models"][0]["latency"]["buckets"]
    for share in (0.5, 0.95, 0.99):
        shown = mini[f"p{share * 100:.0f}"]
        assert shown.endswith(" ms")
        # It shows three digits.
        assert float(shown.removesuffix(" ms").replace(",", "")) == pytest.approx(quantile(buckets, share), rel=0.01)
    assert mini["In the queue"] == "0 of 16,384"
    assert mini["Batch fill"] == f"{status['models'][0]['batch_fill'] * 100:.1f}".removesuffix(".0") + "%"
    assert (odd["Model"], odd["Requests"], odd["p50"]) == (ODD, "0", "–")
    where = cells(page, "placement")[0]
    assert (where["Vectors"], where["Type"]) == ("384 dimensions of up to 256 tokens", "float32")
    assert re.fullmatch(r"CPUExecutionProvider 100% \(\d+ nodes\)", where["Share of the work"])


@needs_browser
def test_the_status_page_goes_on(server: Server, page: Page) -> None:
    page.open(server.url)
    give_key(page, KEY)
    page.until("!document.getElementById('main').hidden")
    before = int(cells(page, "traffic")[0]["Texts"])
    assert server.ask("/embed", {"inputs": list(texts_of(40))}, key=KEY).status == 200
    page.until(f"document.querySelector('#traffic tbody td:nth-child(3)').innerText === '{before + 40}'")
    assert float(cells(page, "traffic")[0]["Texts/s"]) > 0


@needs_browser
def test_the_routes_can_be_tried(server: Server, page: Page) -> None:
    document = server.ask("/openapi.json").json()
    page.open(f"{server.url}/docs")
    give_key(page, KEY)
    page.until("document.querySelector('#main details') !== null")
    lines = "[...document.querySelectorAll('details.route > summary')]"
    shown = page.evaluate(f"{lines}.map((line) => line.innerText.split(/\\s+/).slice(0, 2))")
    expected = [[method.upper(), path] for path, item in document["paths"].items() for method in item]
    assert sorted(shown) == sorted(expected)
    for operation, status in (("createEmbeddings", 200), ("retrieveModel", 200), ("tokenize", 200), ("status", 200)):
        page.evaluate(f"document.getElementById('{operation}').open = true")
        page.evaluate(f"document.querySelector('#{operation} button').click()")
        answer = page.until(f"document.querySelector('#{operation} pre.answer').innerText.includes(' ms\\n') && "
                            f"document.querySelector('#{operation} pre.answer').innerText")  # fmt: skip
        assert answer.startswith(f"{status} in "), answer


@needs_browser
def test_a_page_runs_nothing_else(server: Server) -> None:
    with browser.browsing() as page:
        page.open(server.url)
        page.until("document.readyState === 'complete'")
        page.evaluate("{ const added = document.createElement('script'); added.textContent = 'window.ran = true';"
                      " document.body.append(added); }")  # fmt: skip
        page.evaluate("document.body.setAttribute('style', 'color: red')")
        assert page.evaluate("window.ran") is None
        reached = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => 'refused')")
        assert reached == "refused"
        assert [policy for policy in ("script-src", "style-src", "connect-src")
                if not any(policy in complaint for complaint in page.complaints)] == []  # fmt: skip


def test_pages_need_no_key_and_hold_nothing(server: Server) -> None:
    for path in ("/", "/docs"):
        answer = server.ask(path)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "mini" not in answer.body.decode()
    assert server.ask("/status.json").status == 401


def colours(block: str) -> dict[str, tuple[int, int, int]]:
    found = re.findall(r"--([a-z-]+): #([0-9a-f]{3,6});", block)
    whole = {name: code if len(code) == 6 else "".join(2 * digit for digit in code) for name, code in found}
    return {name: (int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for name, code in whole.items()}


def luminance(colour: tuple[int, int, int]) -> float:
    """As WCAG 2.2 has it."""
    parts = [value / 255 for value in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(scheme: str) -> None:
    style = (PAGES / "look.css").read_text(encoding="utf-8")
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    colour = colours(light if scheme == "light" else dark.partition("* {")[0])
    pairs = [(front, back) for front in ("ink", "soft", "strong", "good", "bad") for back in ("paper", "shade")]
    for front, back in [*pairs, ("on-strong", "strong")]:
        low, high = sorted((luminance(colour[front]), luminance(colour[back])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (front, back)
