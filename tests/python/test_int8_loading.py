"""`Embedder(model, dtype="int8")` and `dtype="auto"`: which file is used, what is refused, and all else as ever."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import provider_plugin
import pytest
from conftest import read_golden, run_python
from int8_models import FILE, SMALL, change_metadata, copied, quantized, read_header, write_header
from safetensors.numpy import load_file, save_file

from oxembed import Embedder, InvalidInputError, InvalidModelError, QuantizationReport
from oxembed.providers import PlugIn

TEXTS = ["one", "a second text", "", "something longer, with more words than the others have"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, QuantizationReport]:
    """A small model with its int8 file; never changed."""
    return quantized(tmp_path_factory.mktemp("made") / "model")


@pytest.fixture
def folder(made: tuple[Path, QuantizationReport], tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return copied(tmp_path / "model", made[0])


@pytest.fixture(scope="module")
def int8(made: tuple[Path, QuantizationReport]) -> Embedder:
    return Embedder(made[0], provider="cpu", dtype="int8")


def refused(folder: Path, *says: str) -> None:
    """int8 is an error that names the file and says so; float32 works on."""
    with pytest.raises(InvalidModelError) as caught:
        Embedder(folder, provider="cpu", dtype="int8")
    for words in (FILE, *says):
        assert words in str(caught.value)
    assert Embedder(folder, provider="cpu").model_info().dtype == "float32"


# --- what it tells of itself -------------------------------------------------------------------------------------


def test_it_tells_its_precision_and_quality(made: tuple[Path, QuantizationReport], int8: Embedder) -> None:
    info, quality = int8.model_info(), made[1].quality
    assert info.dtype == "int8"
    assert info.quality is not None
    for name in ("mean", "minimum", "first_percentile", "texts"):
        assert info.quality[name] == getattr(quality, name)
    assert json.loads(json.dumps(info.as_dict()))["quality"] == dict(info.quality)
    assert {session.dtype for session in int8.placement()} == {"int8"}


def test_float32_has_no_quality(made: tuple[Path, QuantizationReport]) -> None:
    model = Embedder(made[0], provider="cpu")
    assert (model.model_info().dtype, model.model_info().quality) == ("float32", None)
    assert {session.dtype for session in model.placement()} == {"float32"}


# --- files that are refused --------------------------------------------------------------------------------------


def test_no_file(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    refused(folder, f"oxembed quantize {folder}", "float32")


def test_a_file_of_other_weights(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["embeddings.LayerNorm.bias"] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "source_sha256", "other weights", "oxembed quantize")


def test_an_unreadable_file(folder: Path) -> None:
    (folder / FILE).unlink()
    (folder / FILE).mkdir()
    refused(folder)


@pytest.mark.parametrize("length", [0, 7, 8, 9, 100, 5_000, -1])
def test_a_file_cut_short(folder: Path, length: int) -> None:
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:length])
    refused(folder)


def test_bytes_behind_the_end(folder: Path) -> None:
    with (folder / FILE).open("ab") as file:
        file.write(b"more")
    refused(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "another"),
        ("format", None),
        ("recipe", "0"),
        ("recipe", "2"),
        ("recipe", None),
        ("source_sha256", "0" * 64),
        ("source_sha256", "nonsense"),
        ("source_sha256", None),
        ("quality", "{}"),
        ("quality", "[1, 2"),
        ("quality", None),
        ("sites", "[]"),
        ("sites", '[["nobody"]]'),
        ("sites", "3"),
        ("sites", None),
    ],
)
def test_metadata_that_do_not_fit(folder: Path, name: str, value: str | None) -> None:
    change_metadata(folder / FILE, **{name: value})
    with pytest.raises(InvalidModelError, match=re.escape(FILE)):
        Embedder(folder, provider="cpu", dtype="int8")


QUERY = "encoder.layer.0.attention.self.query"


def without(tensors: dict[str, np.ndarray], name: str) -> None:
    del tensors[name]


BROKEN: dict[str, tuple[str, Callable[[dict[str, np.ndarray]], None]]] = {
    "no weight": (f"{QUERY}.weight", lambda t: without(t, f"{QUERY}.weight")),
    "no scales": (f"{QUERY}.weight_scale", lambda t: without(t, f"{QUERY}.weight_scale")),
    "no order": (f"{QUERY}.order", lambda t: without(t, f"{QUERY}.order")),
    "a channel twice": (f"{QUERY}.order", lambda t: t[f"{QUERY}.order"].__setitem__(0, t[f"{QUERY}.order"][1])),
    "a channel too far": (f"{QUERY}.order", lambda t: t[f"{QUERY}.order"].__setitem__(0, 48)),
    "a channel below": (f"{QUERY}.order", lambda t: t[f"{QUERY}.order"].__setitem__(0, -1)),
    "groups too short": (f"{QUERY}.groups", lambda t: t[f"{QUERY}.groups"].__setitem__(0, 1)),
    "a negative group": (f"{QUERY}.groups", lambda t: t[f"{QUERY}.groups"].__setitem__(0, -16)),
    "a weight of -128": (f"{QUERY}.weight", lambda t: t[f"{QUERY}.weight"].__setitem__((0, 0), -128)),
    "a scale that is no number": (
        f"{QUERY}.weight_scale",
        lambda t: t[f"{QUERY}.weight_scale"].__setitem__((0, 0), np.nan),
    ),
    "an endless bias": (f"{QUERY}.bias", lambda t: t[f"{QUERY}.bias"].__setitem__(0, np.inf)),
    "weights of another type": (
        f"{QUERY}.weight",
        lambda t: t.__setitem__(f"{QUERY}.weight", t[f"{QUERY}.weight"].astype(np.float32)),
    ),
    "weights of another shape": (
        f"{QUERY}.weight",
        lambda t: t.__setitem__(f"{QUERY}.weight", np.ascontiguousarray(t[f"{QUERY}.weight"][:, :-1])),
    ),
    "a tensor of no layer": ("nobody.weight", lambda t: t.__setitem__("nobody.weight", np.zeros((2, 2), np.int8))),
}


@pytest.mark.parametrize("case", BROKEN)
def test_tensors_that_do_not_fit(folder: Path, case: str) -> None:
    name, change = BROKEN[case]
    tensors = load_file(folder / FILE)
    metadata = read_header(folder / FILE)["__metadata__"]
    change(tensors)
    save_file(tensors, folder / FILE, metadata=metadata)
    refused(folder, name)


def test_the_broken_ones_are_refused_for_what_was_changed(folder: Path) -> None:
    # Written again by another program as it was, the file is as good as before.
    before = Embedder(folder, provider="cpu", dtype="int8").encode(TEXTS)
    save_file(load_file(folder / FILE), folder / FILE, metadata=read_header(folder / FILE)["__metadata__"])
    assert (Embedder(folder, provider="cpu", dtype="int8").encode(TEXTS) == before).all()


# --- dtypes and providers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int4", "INT8", "", "uint8"])
def test_unknown_dtypes(folder: Path, dtype: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Embedder(folder, provider="cpu", dtype=dtype)
    assert "dtype" in str(caught.value)
    for known in ("float32", "int8", "auto"):
        assert known in str(caught.value)


def test_another_provider_has_no_int8(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXEMBED_PLUG_INS", f"{provider_plugin.library()}={provider_plugin.NAME}")
    with pytest.raises(InvalidInputError) as caught:
        Embedder(folder, provider=PlugIn(name=provider_plugin.NAME), dtype="int8")
    assert "int8" in str(caught.value)
    assert "float32" in str(caught.value)


def test_int8_of_an_onnx_file(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", SMALL.with_name("bert-cls"))
    with pytest.raises(InvalidInputError, match=r"onnx.*float32"):
        Embedder(folder, provider="cpu", dtype="int8", onnx_file="onnx/model.onnx")


# --- auto --------------------------------------------------------------------------------------------------------


def said_to_have(folder: Path, *, passed: bool) -> None:
    """Let the file say that it passed, or that it did not."""
    quality = json.loads(read_header(folder / FILE)["__metadata__"]["quality"])
    change_metadata(folder / FILE, quality=json.dumps({**quality, "passed": passed}))


def test_auto_takes_int8_that_passed_where_it_is_fast(folder: Path, made: tuple[Path, QuantizationReport]) -> None:
    said_to_have(folder, passed=True)
    expected = "int8" if made[1].fast else "float32"
    model = Embedder(folder, provider="cpu", dtype="auto")
    assert model.model_info().dtype == expected
    assert (model.encode(TEXTS) == Embedder(folder, provider="cpu", dtype=expected).encode(TEXTS)).all()


def test_auto_passes_over_what_did_not(folder: Path) -> None:
    said_to_have(folder, passed=False)
    assert Embedder(folder, provider="cpu", dtype="auto").model_info().dtype == "float32"


def test_auto_without_a_file(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model")
    model = Embedder(folder, provider="cpu", dtype="auto")
    assert (model.model_info().dtype, model.model_info().quality) == ("float32", None)
    assert (model.encode(TEXTS) == Embedder(folder, provider="cpu").encode(TEXTS)).all()


def test_auto_says_why_a_broken_file_is_not_used(folder: Path, made: tuple[Path, QuantizationReport]) -> None:
    (folder / FILE).write_bytes(b"broken")
    info = Embedder(folder, provider="cpu", dtype="auto").model_info()
    assert info.dtype == "float32"
    assert made[1].fast == any(FILE in assumption for assumption in info.assumptions)


# --- as any other model ------------------------------------------------------------------------------------------


def test_every_way_to_encode(int8: Embedder) -> None:
    expected = int8.encode(TEXTS)
    assert expected.dtype == np.float32
    assert (np.concatenate(list(int8.encode_iter(TEXTS, chunk_size=3))) == expected).all()
    assert (asyncio.run(int8.aencode(TEXTS)) == expected).all()
    assert (int8.encode(TEXTS, truncate_dim=8) == expected[:, :8]).all()
    assert int8.encode(TEXTS, precision="ubinary").shape == (len(TEXTS), 6)
    assert int8.encode([]).shape == (0, 48)
    assert int8.warm_up() >= 0
    assert int8.health_check().healthy


def test_pickled(int8: Embedder) -> None:
    again = pickle.loads(pickle.dumps(int8))
    assert again.model_info().dtype == "int8"
    assert (again.encode(TEXTS) == int8.encode(TEXTS)).all()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_forked(made: tuple[Path, QuantizationReport]) -> None:
    done = run_python(
        """
        import os, sys
        from oxembed import Embedder

        model = Embedder(sys.argv[1], provider="cpu", dtype="int8")
        expected = model.encode(["one", "two"] * 20)
        pid = os.fork()
        if pid == 0:
            assert (model.encode(["one", "two"] * 20) == expected).all()
            print("child", flush=True)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert (model.encode(["one", "two"] * 20) == expected).all()
        print("parent")
        """,
        str(made[0]),
    )
    assert (done.stdout.split(), done.stderr, done.returncode) == (["child", "parent"], "", 0)


def test_many_at_once(int8: Embedder) -> None:
    texts = read_golden(SMALL.name).texts
    expected = int8.encode(texts)

    async def gathered() -> list[bytes]:
        return [vector.tobytes() for vector in await asyncio.gather(*(int8.aencode(text) for text in texts))]

    assert asyncio.run(gathered()) == [vector.tobytes() for vector in expected]


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_the_folder_may_go_once_the_model_is_loaded(folder: Path, dtype: Literal["int8", "float32"]) -> None:
    model = Embedder(folder, provider="cpu", dtype=dtype, threads=3)
    expected = [model.encode(text) for text in TEXTS]
    shutil.rmtree(folder)
    # A list is work for several sessions: all but the one that is there are made now.
    assert (model.encode(TEXTS * 8) == np.tile(expected, (8, 1))).all()


def test_a_header_of_another_order_is_the_same_file(folder: Path) -> None:
    expected = Embedder(folder, provider="cpu", dtype="int8").encode(TEXTS)
    header = read_header(folder / FILE)
    write_header(folder / FILE, dict(reversed(header.items())))
    assert (Embedder(folder, provider="cpu", dtype="int8").encode(TEXTS) == expected).all()
