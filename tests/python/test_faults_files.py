"""Model files that vanish or change while a model is in use: the right rows or a typed error."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
from faults import copied, on_unix, told

CHANGES = {
    "the folder vanishes": "shutil.rmtree(folder)",
    "the weights vanish": "(folder / 'model.safetensors').unlink()",
    "everything is replaced by renaming": (
        "for path in [path for path in folder.rglob('*') if path.is_file()]:\n"
        "    other = path.with_suffix('.other'); other.write_bytes(os.urandom(100)); os.replace(other, path)"
    ),
    "the folder is renamed": "folder.rename(folder.with_name('elsewhere'))",
    "the settings are emptied": "[path.write_text('') for path in folder.glob('*.json')]",
    "the weights are replaced by those of another": (
        "other = folder / 'new'\n"
        "other.write_bytes((FOLDER.parent / 'bert-cls' / 'model.safetensors').read_bytes())\n"
        "os.replace(other, folder / 'model.safetensors')"
    ),
}


def said(script: str, folder: Path, **options: Any) -> Any:
    start = "import pickle, shutil\nfolder = Path(sys.argv[1])\nembedder = model(folder)\nassert right(embedder)\n"
    return told(start + textwrap.dedent(script), folder, **options)


@on_unix
@pytest.mark.parametrize("change", CHANGES)
def test_a_loaded_model_goes_on(change: str, tmp_path: Path) -> None:
    """A model that is in use needs its files no more."""
    script = f"""
    {textwrap.indent(CHANGES[change], "    ").strip()}
    agree = [right(embedder) for _ in range(3)]
    many = embedder.encode(TEXTS * 40)
    near = bool(np.abs(many - np.tile(VECTORS, (40, 1))).max() <= 1e-5)
    tell(agree=agree, many=near, health=embedder.health_check().healthy)
    """
    assert said(script, copied(tmp_path / "model")) == {"agree": [True] * 3, "many": True, "health": True}


@on_unix
@pytest.mark.parametrize(
    "change",
    ["the folder vanishes", "the weights vanish", "everything is replaced by renaming", "the folder is renamed"],
)
def test_who_loads_it_again_is_told(change: str, tmp_path: Path) -> None:
    """A forked child and a pickled model load from the folder; this process, and others that are whole, go on."""
    script = f"""
    stored = pickle.dumps(embedder)
    {textwrap.indent(CHANGES[change], "    ").strip()}
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        found = [outcome(lambda: embedder.encode("x")) for _ in range(2)] + [["right", right(model())]]
        os.write(writing, json.dumps(found).encode())
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    *child, other = json.loads(os.read(reading, 10_000))
    again = outcome(lambda: pickle.loads(stored).encode("x"))
    tell(status=status, failed=[*child, again], other=other, next=right(embedder))
    """
    found = said(script, copied(tmp_path / "model"))
    assert (found["status"], found["other"], found["next"]) == (0, ["right", True], True)
    for kind, message in found["failed"]:
        assert kind in {"ModelNotFoundError", "InvalidModelError"}
        assert str(tmp_path) in message


@on_unix
def test_workers_that_start_after_the_weights_are_gone(tmp_path: Path) -> None:
    """All that a session needs of them is in memory, whenever it is made."""
    script = """
    lone = model(folder)
    before = lone.encode("x")
    shutil.rmtree(folder)
    many = lone.encode(TEXTS * 40)
    near = bool(np.abs(many - np.tile(VECTORS, (40, 1))).max() <= 1e-5)
    tell(near=near, same=bool((lone.encode("x") == before).all()))
    """
    assert said(script, copied(tmp_path / "model")) == {"near": True, "same": True}


@on_unix
def test_workers_that_start_after_an_onnx_file_is_gone(tmp_path: Path) -> None:
    """ONNX Runtime reads it for every session; a call that needs another is told what is missing."""
    script = """
    (folder / "onnx").mkdir()
    oxembed.export(folder, folder / "onnx" / "model.onnx")
    lone = model(folder, onnx_file="onnx/model.onnx")
    before = lone.encode("x")
    hidden = folder.rename(folder.with_name("hidden"))
    failed = outcome(lambda: lone.encode(TEXTS * 40))
    same = bool((lone.encode("x") == before).all())
    hidden.rename(folder)
    tell(failed=failed, same=same, back=right(lone))
    """
    found = said(script, copied(tmp_path / "model"))
    assert (found["same"], found["back"]) == (True, True)
    kind, message = found["failed"]
    assert kind == "InvalidModelError"
    assert str(Path("onnx", "model.onnx")) in message


@on_unix
def test_files_that_come_back_load_again(tmp_path: Path) -> None:
    script = """
    stored = pickle.dumps(embedder)
    hidden = folder.rename(folder.with_name("hidden"))
    gone = outcome(lambda: pickle.loads(stored))[0]
    hidden.rename(folder)
    tell(gone=gone, back=right(pickle.loads(stored)))
    """
    assert said(script, copied(tmp_path / "model")) == {"gone": "ModelNotFoundError", "back": True}


@on_unix
def test_files_that_change_while_models_load(tmp_path: Path) -> None:
    """One thread replaces weights and settings by renaming, by those of two models; each load is of one, or refused."""
    first, second = copied(tmp_path / "model"), tmp_path / "other"
    shutil.copytree(first.parents[0] / "model", second)
    script = """
    other, stop, counts = Path(sys.argv[2]), threading.Event(), {}
    names = ["config.json", "tokenizer.json", "model.safetensors", "modules.json"]

    def replace():
        turn = 0
        while not stop.is_set():
            turn += 1
            for name in names:
                path, new = folder / name, folder / "new"
                if turn % 3 == 0:
                    path.unlink(missing_ok=True)
                elif turn % 3 == 1:
                    new.write_bytes((other / name).read_bytes())
                    os.replace(new, path)
                else:
                    new.write_bytes((other / name).read_bytes()[:50])
                    os.replace(new, path)
            time.sleep(0.002)

    thread = threading.Thread(target=replace)
    thread.start()
    wrong = 0
    end = time.monotonic() + 60
    while sum(counts.values()) < 30 or (set(counts) == {"ok"} and time.monotonic() < end):
        loaded = []
        found = outcome(lambda: loaded.append(model(folder)))
        counts[found[0]] = counts.get(found[0], 0) + 1
        if loaded:
            agree = []
            used = outcome(lambda: agree.append(right(loaded[0])))  # its other sessions may come too late
            wrong += not (all(agree) if used[0] == "ok" else used[0] == "InferenceError")
    stop.set()
    thread.join()
    tell(counts=counts, wrong=wrong, next=right(embedder))
    """
    found = told(
        "import pickle, shutil\nfolder = Path(sys.argv[1])\nembedder = model(folder)\nassert right(embedder)\n"
        + textwrap.dedent(script),
        first,
        second,
    )
    assert (found["wrong"], found["next"]) == (0, True)
    assert set(found["counts"]) <= {"ok", "InvalidModelError", "ModelNotFoundError"}
    assert sum(count for kind, count in found["counts"].items() if kind != "ok") > 0


IN_PLACE = {
    "truncated": "os.truncate(file, 5_000)",
    "emptied": "file.write_bytes(b'')",
    "longer": "file.write_bytes(file.read_bytes() + bytes(10))",
    "other numbers": "data = bytearray(file.read_bytes())\n"
    "data[20_000:] = os.urandom(len(data) - 20_000)\n"
    "with file.open('r+b') as stream: stream.write(data)",
}


@on_unix
@pytest.mark.parametrize("change", IN_PLACE)
def test_weights_that_are_written_to_in_place(change: str, tmp_path: Path) -> None:
    """They are looked at once a second; until the model is loaded again, from whole files, every call is refused."""
    script = f"""
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    time.sleep(1.1)
    {textwrap.indent(IN_PLACE[change], "    ").strip()}
    found = [outcome(lambda: embedder.encode("x")) for _ in range(3)]
    (folder / "new").write_bytes(whole)
    os.replace(folder / "new", file)
    found.append(outcome(lambda: embedder.encode("x")))
    tell(found=found, next=right(model(folder)))
    """
    found = said(script, copied(tmp_path / "model"))
    for kind, message in found["found"]:
        assert kind == "InvalidModelError"
        assert "model.safetensors: the file was written to after it was loaded" in message
    assert found["next"]


@on_unix
def test_a_new_time_is_no_change(tmp_path: Path) -> None:
    script = """
    time.sleep(1.1)
    os.utime(folder / "model.safetensors")
    tell(agree=[right(embedder) for _ in range(3)])
    """
    assert said(script, copied(tmp_path / "model")) == {"agree": [True] * 3}
