"""The command line, run as its users run it: `python -m oxembed` in a process of its own."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import FIXTURES, PATIENCE, TOLERANCE, Golden
from numpy.typing import NDArray

from oxembed import Embedder, __version__

MODEL = str(FIXTURES / "bert-mean-prompts")
ANIMALS = [
    "The stock market fell.",
    "",
    "A cat is a small furry animal.",
    "Rain is expected.",
    "   ",
    "Kittens are young cats.",
]


def run(
    *arguments: str, stdin: str | bytes = b"", timeout: float = PATIENCE, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "oxembed", *arguments],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, **environment},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def fails(done: subprocess.CompletedProcess[str], *says: str, status: int = 1) -> None:
    """A user's mistake: the status, a message of one line that says so, and no traceback."""
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    for words in says:
        assert words in done.stderr
    if status == 1:
        assert done.stderr.startswith("oxembed: ")
        assert done.stderr.count("\n") == 1


def vectors_of(output: str) -> NDArray[np.float32]:
    return np.array([json.loads(line)["embedding"] for line in output.splitlines()], dtype=np.float32)


@pytest.fixture
def texts_file(tmp_path: Path, golden: Golden) -> Path:
    """The golden texts that fit on a line, as a file."""
    path = tmp_path / "texts.txt"
    path.write_bytes("".join(f"{text}\n" for text in one_line(golden)).encode())
    return path


def one_line(golden: Golden) -> list[str]:
    return [text for text in golden.texts if "\n" not in text and not text.endswith("\r")]


def expected_rows(golden: Golden) -> NDArray[np.float32]:
    keep = [text in one_line(golden) for text in golden.texts]
    return golden.vectors["embeddings"][keep]


# --- embed -------------------------------------------------------------------------------------------------------


def test_embed_arguments_as_json_lines(small: Embedder) -> None:
    texts = ["one", 'with "quotes" and \\', "grüße 🙂", "", "a\nb"]
    done = run("embed", *texts, "--model", MODEL)
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(record) for record in records] == [["index", "text", "embedding"]] * len(texts)
    assert [record["index"] for record in records] == list(range(len(texts)))
    assert [record["text"] for record in records] == texts
    np.testing.assert_array_equal(vectors_of(done.stdout), small.encode(texts))


def test_embed_default_model() -> None:
    done = run("embed", "hello")
    np.testing.assert_array_equal(vectors_of(done.stdout), Embedder().encode(["hello"]))


def test_a_file_that_is_named_as_a_text_is_told(small: Embedder, texts_file: Path) -> None:
    texts = ["a text", str(texts_file), "x" * 10_000, str(texts_file.parent)]
    done = run("embed", *texts, "--model", MODEL)
    assert done.returncode == 0
    np.testing.assert_array_equal(vectors_of(done.stdout), small.encode(texts))
    told = [line for line in done.stderr.splitlines() if "--input" in line]
    assert told == [
        f"oxembed: {str(texts_file)!r} is embedded as a text; for the lines of the file: --input {texts_file}"
    ]


@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".csv", ".NPY"])
def test_embed_file_to_file(texts_file: Path, golden: Golden, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"vectors{suffix}"
    done = run("embed", "--input", str(texts_file), "--output", str(output), "--model", MODEL)
    assert (done.returncode, done.stdout) == (0, "")
    if suffix.lower() == ".npy":
        vectors = np.load(output)
        assert vectors.dtype == np.float32
    elif suffix == ".jsonl":
        vectors = vectors_of(output.read_text(encoding="utf-8"))
    else:
        with output.open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        assert header == ["index", "text", *map(str, range(golden.vectors["embeddings"].shape[1]))]
        assert [row[1] for row in rows] == one_line(golden)
        vectors = np.array([row[2:] for row in rows], dtype=np.float32)
    np.testing.assert_allclose(vectors, expected_rows(golden), atol=TOLERANCE, rtol=0)
    assert {path.name for path in tmp_path.iterdir()} == {"texts.txt", output.name}, "no temporary file is left"


def test_embed_many_chunks_from_a_pipe(tmp_path: Path, small: Embedder) -> None:
    texts = [f"line {number}" for number in range(2_500)]
    output = tmp_path / "vectors.npy"
    done = run("embed", "-i", "-", "-o", str(output), "-m", MODEL, stdin="\n".join(texts))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_allclose(np.load(output), small.encode(texts), atol=TOLERANCE, rtol=0)
    assert np.load(output, mmap_mode="r").shape == (2_500, small.dimension)


@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".csv"])
def test_embed_nothing(tmp_path: Path, small: Embedder, suffix: str) -> None:
    output = tmp_path / f"vectors{suffix}"
    assert run("embed", "-i", "-", "-o", str(output), "-m", MODEL).returncode == 0
    if suffix == ".npy":
        assert np.load(output).shape == (0, small.dimension)
    else:
        assert len(output.read_text().splitlines()) == (1 if suffix == ".csv" else 0)


@pytest.mark.parametrize(
    ("stdin", "lines"),
    [
        (b"a\r\nb\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        (b"\n\nx\n", ["", "", "x"]),
        ("a\u2028b\x0bc\x85d\n".encode(), ["a\u2028b\x0bc\x85d"]),
        (b"nul \0 here\n", ["nul \0 here"]),
    ],
)
def test_lines_of_input(stdin: bytes, lines: list[str]) -> None:
    done = run("embed", "--input", "-", "--model", MODEL, stdin=stdin)
    assert [json.loads(line)["text"] for line in done.stdout.split("\n")[:-1]] == lines


@pytest.mark.parametrize(
    ("flags", "arguments"),
    [
        (["--prompt-name", "query"], {"prompt_name": "query"}),
        (["--prompt", "say: "], {"prompt": "say: "}),
        (["--truncate-dim", "8"], {"truncate_dim": 8}),
        (["--truncate-dim", "8", "--normalize"], {"truncate_dim": 8, "normalize_embeddings": True}),
        (["--precision", "float16"], {"precision": "float16"}),
        (["--precision", "binary"], {"precision": "binary"}),
        (["--provider", "cpu", "--threads", "1"], {}),
        (["--provider", "auto,cpu"], {}),
    ],
)
def test_embed_options(tmp_path: Path, small: Embedder, flags: list[str], arguments: dict[str, Any]) -> None:
    output = tmp_path / "vectors.npy"
    done = run("embed", "one", "two", "-m", MODEL, "-o", str(output), *flags)
    assert (done.returncode, done.stderr) == (0, "")
    vectors, expected = np.load(output), small.encode(["one", "two"], **arguments)
    assert vectors.dtype == expected.dtype
    np.testing.assert_allclose(vectors, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["text", "--input", "file"],
        ["text", "--output", "vectors.txt"],
        ["text", "--threads", "0"],
        ["text", "--truncate-dim", "x"],
        ["text", "--precision", "int4"],
        ["text", "--precision", "binary", "--calibration", "calibration.json"],
        ["text", "--nonsense"],
    ],
)
def test_wrong_usage_of_embed(arguments: list[str]) -> None:
    fails(run("embed", *arguments), "usage:", status=2)


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["search", "query"], ["search", "q", "--input", "f", "--top", "0"]]
)
def test_wrong_usage(arguments: list[str]) -> None:
    fails(run(*arguments), "usage:", status=2)


def test_failures_say_what_happened(tmp_path: Path, texts_file: Path) -> None:
    missing = str(tmp_path / "no-such-file.txt")
    fails(run("embed", "-i", missing), missing, "No such file")
    fails(run("search", "query", "-i", missing), missing, "No such file")
    fails(run("embed", "-i", str(tmp_path)), str(tmp_path), "directory")
    fails(run("embed", "x", "-o", str(tmp_path / "none" / "v.npy")), "folder does not exist")
    fails(run("embed", "x", "-m", "no/such/model"), "there is no folder", "no/such/model")
    fails(
        run("embed", "x", "-m", "no-such/model", HF_HUB_CACHE=str(tmp_path)),
        "no-such/model could not be downloaded from http://127.0.0.1:9",
    )
    fails(run("embed", "x", "-m", str(tmp_path)), str(tmp_path))
    fails(run("embed", "x", "--provider", "cuda", "-m", MODEL), "cuda")
    fails(run("embed", "x", "--prompt-name", "nonsense", "-m", MODEL), "nonsense", "query")
    fails(run("info", "no/such/model"), "there is no folder")
    folder = tmp_path / "folder.npy"
    folder.mkdir()
    fails(run("embed", "x", "-o", str(folder)), "folder.npy")


@pytest.mark.skipif(sys.platform == "win32", reason="arguments are not bytes there")
def test_argument_that_is_not_text() -> None:
    command = [sys.executable.encode(), b"-m", b"oxembed", b"embed", b"fine", b"\xff\xfe", b"-m", MODEL.encode()]
    done = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"surrogate" in done.stderr


@pytest.mark.parametrize("suffix", [".npy", ".jsonl", ".csv"])
def test_a_failed_run_leaves_the_old_file_and_no_other(tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"vectors{suffix}"
    output.write_text("precious")
    stdin = b"line\n" * 3_000 + b"caf\xe9\n"
    done = run("embed", "-i", "-", "-o", str(output), "-m", MODEL, stdin=stdin)
    fails(done, "standard input: line 3001 is not UTF-8", "0xe9")
    assert output.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_output_to_links_and_devices(tmp_path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "real.jsonl")
    assert run("embed", "x", "-m", MODEL, "-o", str(link)).returncode == 0
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["text"] == "x"
    null = tmp_path / "null.jsonl"
    null.symlink_to("/dev/null")
    assert run("embed", "x", "-m", MODEL, "-o", str(null)).returncode == 0
    assert Path("/dev/null").is_char_device()


def test_truncation_is_told_once(small: Embedder) -> None:
    done = run("embed", "word " * 2 * small.max_seq_length, "short", "-m", MODEL)
    assert done.returncode == 0
    assert "1 of 2 texts were longer" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_reader_that_goes_away(tmp_path: Path) -> None:
    source = tmp_path / "many.txt"
    source.write_text("a line\n" * 20_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "oxembed", "embed", "-i", str(source), "-m", MODEL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stderr:
        with process.stdout:
            assert process.stdout.readline().startswith(b'{"index": 0')
        assert process.stderr.read() == b""
    assert process.wait(timeout=PATIENCE) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c(tmp_path: Path) -> None:
    source, output = tmp_path / "many.txt", tmp_path / "vectors.npy"
    source.write_text("".join(f"a line with the number {number}\n" for number in range(500_000)))
    process = subprocess.Popen(
        [sys.executable, "-m", "oxembed", "embed", "-i", str(source), "-o", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + PATIENCE
    while not any(path.suffix == ".tmp" for path in tmp_path.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline, "it did not begin to write"
        time.sleep(0.02)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert (process.returncode, stdout, stderr) == (130, b"", b"oxembed: interrupted\n")
    assert list(tmp_path.iterdir()) == [source]


# --- search ------------------------------------------------------------------------------------------------------


def test_search_ranks_by_meaning() -> None:
    done = run("search", "pets", "--input", "-", "--top", "2", stdin="\n".join(ANIMALS))
    assert done.returncode == 0
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert sorted((int(line), text) for _, line, text in rows) == [(3, ANIMALS[2]), (6, ANIMALS[5])]
    assert float(rows[0][0]) >= float(rows[1][0])
    assert re.fullmatch(r"4 lines embedded and ranked in \d+\.\d\d s \([\d,]+ lines/s\)\n", done.stderr)


def test_search_scores_are_the_models(small: Embedder, texts_file: Path, golden: Golden) -> None:
    lines = [(number, text) for number, text in enumerate(one_line(golden), 1) if text.strip()]
    query = small.encode("a question", prompt_name="query").astype(np.float64)
    documents = small.encode([text for _, text in lines], prompt_name="document").astype(np.float64)
    scores = documents @ query / np.linalg.norm(query) / np.linalg.norm(documents, axis=1)
    done = run("search", "a question", "-i", str(texts_file), "-k", "1000", "--json", "-m", MODEL)
    records = [json.loads(line) for line in done.stdout.split("\n")[:-1]]
    assert len(records) == len(lines)
    by_line = dict(zip((number for number, _ in lines), scores, strict=True))
    for record in records:
        assert list(record) == ["score", "line", "text"]
        assert record["text"] == one_line(golden)[record["line"] - 1]
        assert record["score"] == pytest.approx(by_line[record["line"]], abs=1e-5)
    assert [record["score"] for record in records] == sorted((one["score"] for one in records), reverse=True)


def test_search_equal_scores_keep_the_order_of_lines() -> None:
    done = run("search", "same", "-i", "-", "-k", "3", "-m", MODEL, stdin="same\n" * 2_000)
    assert [line.split("\t")[1] for line in done.stdout.splitlines()] == ["1", "2", "3"]


@pytest.mark.parametrize("stdin", ["", "\n\n  \n"])
def test_search_in_nothing(stdin: str) -> None:
    done = run("search", "query", "-i", "-", "-m", MODEL, stdin=stdin)
    assert (done.returncode, done.stdout) == (0, "")
    assert "no lines that are not blank" in done.stderr


def on_terminal(*arguments: str, columns: int = 60) -> str:
    """What is left on a terminal of what a command writes: of each line, what comes after the last return."""
    main, second = pty.openpty()
    termios.tcsetwinsize(second, (24, columns))
    process = subprocess.Popen(
        [sys.executable, "-m", "oxembed", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=second,
        stderr=second,
        env={**os.environ, "COLUMNS": str(columns), "TERM": "dumb"},
    )
    os.close(second)
    output = b""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            part = os.read(main, 65_536)
        except OSError:  # Linux: the other side is closed
            break
        if not part:
            break
        output += part
    os.close(main)
    assert process.wait(timeout=PATIENCE) == 0
    lines = output.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(line.rpartition("\r")[2] for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
def test_search_on_a_terminal_fits_and_is_harmless(tmp_path: Path) -> None:
    source = tmp_path / "lines.txt"
    long = "wide 漢字 " * 20
    source.write_text(f"{long}\nred \x1b[31m alert \x07\n{'x' * 500}\n", encoding="utf-8")
    output = on_terminal("search", "query", "-i", str(source))
    results = [line for line in output.split("\n") if "embedded and ranked" not in line]
    assert len(results) == 3 + 1 + 3 + 1
    assert all(len(line) + sum(one > "\u2fff" for one in line) <= 60 for line in results)
    assert sum(line.endswith("…") for line in results) == 2
    assert "\x1b" not in output.replace("\x1b[A", "")
    assert "\x07" not in output


# --- info and the rest -------------------------------------------------------------------------------------------


def test_info(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    facts = json.loads(run("info", "--json", HF_HUB_CACHE=str(tmp_path)).stdout)
    assert facts["oxembed"] == __version__
    assert re.match(r"1\.\d+", facts["onnxruntime"])
    assert Path(facts["onnxruntime_library"]).is_file()
    assert facts["embedded_model"] == "all-MiniLM-L6-v2"
    assert (Path(facts["embedded_model_folder"]) / "config.json").is_file()
    assert [model["name"] for model in facts["cached_models"]] == ["org/name"]
    readable = run("info", HF_HUB_CACHE=str(tmp_path))
    assert readable.returncode == 0
    for value in (facts["oxembed"], facts["onnxruntime"], facts["onnxruntime_library"], "org/name"):
        assert value in readable.stdout


def test_info_without_onnx_runtime() -> None:
    done = run("info", "--json", ORT_DYLIB_PATH="/no/such/library")
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert facts["onnxruntime"] is None
    assert "/no/such/library" in facts["problem"]


def test_info_of_a_model(small: Embedder) -> None:
    assert json.loads(run("info", MODEL, "--json").stdout) == small.model_info().as_dict()
    readable = run("info", MODEL)
    assert readable.returncode == 0
    for name, value in (("dimension", small.dimension), ("family", "bert"), ("pooling", "mean")):
        assert re.search(rf"^{name} +{value}$", readable.stdout, re.MULTILINE)


def test_version_and_help() -> None:
    assert run("--version").stdout == f"oxembed {__version__}\n"
    for arguments in ([], ["embed"], ["search"], ["info"], ["models"], ["download"], ["calibrate"], ["export"]):
        done = run(*arguments, "--help")
        assert done.returncode == 0
        assert "examples:" in done.stdout


def test_works_in_an_ascii_locale() -> None:
    environment: dict[str, Any] = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    environment["PYTHONIOENCODING"] = "ascii"
    done = run("search", "x", "-i", "-", "-m", MODEL, stdin="grüße 🙂\n", **environment)
    assert (done.returncode, done.stdout.split("\t")[-1]) == (0, "grüße 🙂\n")
    assert run("info", MODEL, **environment).returncode == 0
