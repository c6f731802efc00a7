"""Settings of `oxembed serve`: a flag goes before its variable, that before the file, that before the default."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE
from servers import refused, serving

MODEL = Path(__file__).resolve().parents[2] / "models" / "all-MiniLM-L6-v2"


def printed(*arguments: str, **variables: str) -> tuple[str, dict[str, Any]]:
    """What `--print-config` prints, as text and as what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "oxembed", "serve", "--print-config", *arguments],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout, tomllib.loads(done.stdout)


def origin(text: str, key: str) -> str:
    found = re.search(rf"^(?:# )?{key}\b.*  # (.*)$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "oxembed.toml"
    path.write_text(
        'port = 7001\nmax_inputs = 7\ntimeout = 2.5\nauto_truncate = true\napi_key = ["hush"]\n\n'
        f'[[models]]\nname = "first"\naliases = ["1"]\npath = {str(MODEL)!r}\n\n[[models]]\npath = "other"\n'
    )
    return path


def test_one_precedence(file: Path) -> None:
    text, _ = printed()
    assert (origin(text, "port"), origin(text, "max_inputs")) == ("default", "default")
    text, settings = printed("--config", str(file))
    assert (settings["port"], settings["max_inputs"], settings["timeout"]) == (7001, 7, 2.5)
    assert (settings["auto_truncate"], settings["allow_anyone"]) == (True, False)
    assert (origin(text, "port"), origin(text, "timeout")) == (f"{file}:1", f"{file}:3")
    text, settings = printed(OXEMBED_CONFIG=str(file), OXEMBED_PORT="7002")
    assert (settings["port"], origin(text, "port")) == (7002, "OXEMBED_PORT")
    assert (settings["max_inputs"], origin(text, "max_inputs")) == (7, f"{file}:2")
    text, settings = printed("--port", "7003", OXEMBED_CONFIG=str(file), OXEMBED_PORT="7002")
    assert (settings["port"], origin(text, "port")) == (7003, "flag")


def test_a_variable_that_is_empty_is_none(file: Path) -> None:
    text, settings = printed("--config", str(file), OXEMBED_PORT="", OXEMBED_MODELS="")
    assert (settings["port"], origin(text, "port")) == (7001, f"{file}:1")
    assert len(settings["models"]) == 2


def test_models_come_from_one_place(file: Path) -> None:
    _, settings = printed("--config", str(file))
    assert settings["models"] == [{"name": "first", "aliases": ["1"], "path": str(MODEL)}, {"path": "other"}]
    text, settings = printed("--config", str(file), OXEMBED_MODELS="a,b=x;y")
    assert settings["models"] == [{"name": "a", "aliases": ["b"], "path": "x"}, {"path": "y"}]
    assert text.count("[[models]]  # OXEMBED_MODELS") == 2
    _, settings = printed("--config", str(file), "--model", "z", OXEMBED_MODELS="x")
    assert settings["models"] == [{"path": "z"}]


def test_keys_are_not_shown(file: Path) -> None:
    for text, settings in [
        printed("--config", str(file)),
        printed("--api-key", "hush", "--api-key", "hush-hush"),
        printed(OXEMBED_API_KEYS="hush,hush-hush"),
    ]:
        assert "hush" not in text
        assert "api_key" not in settings
        assert re.search(r"^# api_key: [12] set, not shown", text, re.MULTILINE)


def test_what_is_printed_can_be_read_again(file: Path, tmp_path: Path) -> None:
    """Each value in another form than its default, printed and read: the same."""
    for arguments in ([], ["--config", str(file)], ["--threads", "3", "--drain", ".5", "--model", 'a "b"=c\\d']):
        _, settings = printed(*arguments)
        again = tmp_path / "again.toml"
        again.write_text(printed(*arguments)[0])
        assert printed("--config", str(again))[1] == settings


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("prot = 1", 1, 'Is "port" meant?'),
        ("\nport = '1'", 2, 'port = "1": it has to be a whole number'),
        ("port = 99999", 1, "99999 is not in 0..=65535"),
        ("host = 'nowhere'", 1, 'host = "nowhere"'),
        ("port = 1\n\ntimeout = 0", 3, "timeout: no time at all"),
        ("host = '0.0.0.0'", 1, "no key is set"),
        ("[[models]]\npaht = 'x'", 2, "unknown field `paht`"),
        ("[[models]]\nname = 'x'", 1, "missing field `path`"),
        ("port 1", 1, ""),
        ("otlp_endpoint = 'nowhere'", 1, "http://HOST:PORT"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, line: int, says: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    status, message = refused("--check", "--config", str(path))
    assert status == 1
    assert message.startswith(f"oxembed serve: {path}:{line}: ")
    assert says in message
    assert len(message.splitlines()) == 1


def test_where_a_wrong_variable_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXEMBED_TIMEOUT", "0")
    status, message = refused("--check")
    assert (status, "OXEMBED_TIMEOUT" in message) == (1, True)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    status, message = refused("--config", str(tmp_path / "none.toml"))
    assert status == 1
    assert "none.toml: it cannot be read" in message


def test_check_says_one_line(tmp_path: Path) -> None:
    path = tmp_path / "right.toml"
    path.write_text('max_inputs = 3\n[[models]]\nname = "mini"\npath = "all-MiniLM-L6-v2"\n')
    assert refused("--check", "--config", str(path)) == (0, "oxembed serve: settings and model folders are fine\n")
    path.write_text(f'[[models]]\nname = "mini"\npath = "{tmp_path.as_posix()}"\n')
    status, message = refused("--check", "--config", str(path))
    assert (status, len(message.splitlines())) == (1, 1), message
    assert '"mini" does not load' in message
    # What only shows in the weights is found as well.
    broken = tmp_path / "broken"
    shutil.copytree(MODEL, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    status, message = refused("--check", "--model", str(broken))
    assert (status, len(message.splitlines())) == (1, 1), message
    assert "model.safetensors" in message


def test_a_file_is_served(tmp_path: Path) -> None:
    path = tmp_path / "served.toml"
    path.write_text(
        'provider = "cpu"\nmax_inputs = 2\n[[models]]\nname = "mini"\naliases = ["m"]\npath = "all-MiniLM-L6-v2"\n'
    )
    with serving("--config", str(path)) as server:
        assert server.ask("/v1/embeddings", {"input": ["a", "b"], "model": "m"}).json()["model"] == "mini"
        assert server.ask("/v1/embeddings", {"input": ["a", "b", "c"]}).status == 400


def test_a_service_is_asked_how_it_is() -> None:
    def probe(url: str) -> int:
        return refused("--probe", url)[0]

    with serving("--provider", "cpu") as server:
        assert (probe(f"{server.url}/ready"), probe(f"{server.url}/live")) == (0, 0)
        assert probe(f"{server.url}/nowhere") == 1
        url = server.url
    status, message = refused("--probe", f"{url}/ready")
    assert status == 1
    assert message.startswith(f"oxembed serve: {url}/ready: ")
    # Nobody speaks TLS there.
    assert refused("--probe", f"{url.replace('http:', 'https:')}/ready")[0] == 1
    assert refused("--probe", "ftp://localhost/ready")[0] == 1
