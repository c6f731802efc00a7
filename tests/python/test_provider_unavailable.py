"""A provider that was asked for by its name is used, or there is an error that says why not and what would work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import provider_plugin
import pytest
from conftest import TOLERANCE
from provider_scripts import facts

NAME = provider_plugin.NAME
NO_DEVICE = {provider_plugin.DEVICES: "0"}

# What is asked for, the class of the error, and what its message says: the reason.
REFUSED: dict[str, tuple[str, str, list[str]]] = {
    "not installed": (
        '"cuda"',
        "ProviderUnavailableError",
        ["not installed", "onnxruntime-gpu", "no plug-in brings it"],
    ),
    "for another system": ('"directml"', "ProviderUnavailableError", ["exists on Windows only"]),
    "unknown": ('"nonsense"', "ProviderUnavailableError", ["no provider is called so", NAME, "openvino", "coreml"]),
    "refuses the graph": (
        'plug_in(refuse="compile")',
        "ProviderUnavailableError",
        ["refuses the model", "refused (test)"],
    ),
    "makes no session": (
        'plug_in(refuse="create")',
        "ProviderUnavailableError",
        ["refuses the model", "refused (test)"],
    ),
    "unknown option": ("plug_in(fail_evry=1)", "ProviderUnavailableError", ["refuses the model", "fail_evry"]),
    "impossible option": ("plug_in(fail_rate=2)", "ProviderUnavailableError", ["refuses the model", "fail_rate"]),
    "other kind of device": (
        'providers.PlugIn(name=NAME, device="gpu")',
        "ProviderUnavailableError",
        ["finds no device", '"gpu"'],
    ),
    "takes nothing": ('plug_in(0.0, claim="none")', "ProviderUnavailableError", ["takes none of the model's 60 nodes"]),
    "takes one": ("plug_in(claim=1)", "ProviderUnavailableError", ["1 of the model's", "5.8%", "50.0% are asked for"]),
    "takes too little": ("plug_in(1.0)", "ProviderUnavailableError", ["92.3%", "100.0% are asked", "minimum_share=1"]),
    "a share above one": ("plug_in(1.5)", "InvalidInputError", ["minimum_share", "a number from 0 to 1"]),
    "a share below zero": ("plug_in(-0.1)", "InvalidInputError", ["minimum_share", "a number from 0 to 1"]),
    "no share": ('plug_in(float("nan"))', "InvalidInputError", ["minimum_share", "a number from 0 to 1"]),
    "no sessions": ("plug_in(max_sessions=0)", "InvalidInputError", ["max_sessions", "from 1 to 1024"]),
    "no kind of device": ('providers.PlugIn(name=NAME, device="x")', "InvalidInputError", ["device", "cpu, gpu, npu"]),
    "half precision": ('"cpu", dtype="float16"', "InvalidInputError", ["float16", "does not compute in it"]),
    "wrong setting of the second": ('["cpu", plug_in(2.0)]', "InvalidInputError", ["minimum_share"]),
}
WAY_OUT = '"cpu" and "auto" work everywhere, and so do lists that end in one of them'


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """What became of each, asked for in one process after the other: an error leaves nothing behind."""
    lines = [f"found[{key!r}] = refusal(FOLDER, provider={asked})" for key, (asked, *_) in REFUSED.items()]
    script = "\n".join(
        [
            'FOLDER = FIXTURES / "bert-mean-prompts"',
            "found = {}",
            *lines,
            "left = plugin.counts()",
            "model = Embedder(FOLDER, provider=plug_in())",
            'texts, vectors = golden("bert-mean-prompts")',
            "tell(found=found, left=[left.live_sessions, left.live_kernels], worst=worst(model.encode(texts), vectors))",
        ]
    )
    told = facts(script, tmp_path_factory.mktemp("cache"))
    assert told["left"] == [0, 0]
    assert told["worst"] <= TOLERANCE
    found: dict[str, tuple[str, str]] = told["found"]
    return found


@pytest.mark.parametrize("case", REFUSED)
def test_the_error_says_why(case: str, refused: dict[str, tuple[str, str]]) -> None:
    _, expected, reasons = REFUSED[case]
    kind, message = refused[case]
    assert kind == expected, message
    for reason in reasons:
        assert reason in message
    assert (WAY_OUT in message) == (kind == "ProviderUnavailableError")
    assert "\n" not in message


def test_without_a_device_the_error_names_the_plug_in(tmp_path: Path) -> None:
    script = """
    first = refusal(FIXTURES / "bert-cls", provider=NAME)
    tell(first=first, again=refusal(FIXTURES / "bert-cls", provider=plug_in()))
    """.replace("\n    ", "\n")
    told = facts(script, tmp_path, **NO_DEVICE)
    assert told["first"] == told["again"]
    kind, message = told["first"]
    assert kind == "ProviderUnavailableError"
    assert f"{provider_plugin.library()} is installed and finds no device on this machine" in message


SHARES = """
found = []
for share, claim in ((0.0, 1), (0.05, 1), (0.07, 1), (0.9, "all"), (0.95, "all")):
    try:
        model = Embedder(FIXTURES / "bert-mean-prompts", provider=plug_in(share, claim=claim))
    except ProviderUnavailableError:
        found.append(None)
        continue
    rows = model.encode(texts := golden("bert-mean-prompts")[0])
    [first, *_] = Embedder(FIXTURES / "bert-mean-prompts", provider=plug_in(share, claim=claim)).placement()
    found.append([first.work[NAME], first.providers[NAME], worst(rows, golden("bert-mean-prompts")[1])])
tell(found=found)
"""


def test_the_share_that_is_enough_can_be_set(tmp_path: Path) -> None:
    # By hand, for a text of 16 tokens with rows of 48 numbers, per token and layer: four products of 48 x 48 and two of
    # 48 x 96 on the provider, two of 16 x 48 for the attention on the CPU. One product is one in twelve of that by size.
    products, attention = 4 * 48 * 48 + 2 * 48 * 96, 2 * 16 * 48
    all_of_them = products / (products + attention)
    one = 48 * 48 / (2 * (products + attention))
    found: list[Any] = facts(SHARES, tmp_path)["found"]
    assert [each is None for each in found] == [False, False, True, False, True]
    for each, share, nodes in zip((found[0], found[1], found[3]), (one, one, all_of_them), (1, 1, 12), strict=True):
        assert each[0] == pytest.approx(share)
        assert each[1] == nodes
        assert each[2] <= TOLERANCE


def test_a_library_without_names_is_loaded_when_its_provider_is_named(tmp_path: Path) -> None:
    """The names behind the library's path are optional."""
    script = """
    unknown = refusal(FIXTURES / "bert-cls", provider="nonsense")
    texts, vectors = golden("bert-cls")
    found = [worst(Embedder(FIXTURES / "bert-cls", provider=one).encode(texts), vectors) for one in (NAME, plug_in())]
    tell(unknown=unknown[1], found=found, runs=plugin.counts().runs)
    """.replace("\n    ", "\n")
    told = facts(script, tmp_path, OXEMBED_PLUG_INS=str(provider_plugin.library()))
    assert f", {NAME}, and" in told["unknown"]
    assert max(told["found"]) <= TOLERANCE
    assert told["runs"] > 0


def test_a_library_that_does_not_load_is_a_part_of_the_reason(tmp_path: Path) -> None:
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"no library")
    script = """
    tell(found=[refusal(FIXTURES / "bert-cls", provider=NAME), refusal(FIXTURES / "bert-cls", provider="Broken")])
    """.replace("\n    ", "\n")
    for variable in (str(broken), f"{broken}={NAME},BrokenExecutionProvider"):
        for kind, message in facts(script, tmp_path / "cache", OXEMBED_PLUG_INS=variable)["found"]:
            assert kind == "ProviderUnavailableError"
            assert f"the plug-in library {broken} does not load" in message
