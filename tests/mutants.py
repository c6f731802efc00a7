"""Put small faults into planning, pooling and config, one at a time: which of them does no test find?

    python tests/mutants.py FOLDER                      all of them
    python tests/mutants.py FOLDER -- --shard 1/4       what follows is for cargo-mutants

These modules need nothing of the rest of the crate but three small types, so they are copied into a crate of their own
in FOLDER, with their tests: a fault is compiled and tested in about two seconds, where the whole crate takes most of a
minute. FOLDER/mutants.out holds the results; `missed.txt` there is what no test found. Settings: `.cargo/mutants.toml`.

Exit status: that of cargo-mutants, so 0 where every fault was found, 2 where some were not, 3 where a test did not end.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What is examined, and what it and its tests need.
MODULES = (
    "batch",
    "config",
    "error",
    "foreign",
    "identity",
    "ladder",
    "memory",
    "postprocess",
    "schedule",
    "tokenization",
)
# Types of other modules: the file, and how the item begins.
TYPES = {
    "graph": [("src/graph/mod.rs", "pub enum PositionScheme"), ("src/graph/target.rs", "pub struct StaticShape")],
    "runtime::session": [("src/runtime/session.rs", "pub enum Feed")],
}
# Read by the tests.
DATA = ("data", "models", "tests/fixtures")

# Nothing here takes a gigabyte; a fault that makes a list grow without end would take all there is.
MEMORY = 8 * 2**30


def item(file: str, start: str) -> str:
    """The text of an outermost item, with what stands above it: rustfmt puts its end into the first column."""
    source = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(rf"(?:^(?:///|#\[).*\n)*^{re.escape(start)} \{{\n(?:.*\n)*?\}}$", source, re.MULTILINE)
    if found is None:
        raise SystemExit(f"error: {file} has no `{start}`, which the modules under test need: see TYPES in {__file__}")
    return found[0]


def library() -> str:
    """The crate's `lib.rs`."""
    # What lints say is known from the crate itself.
    lines = ["#![allow(warnings)]"]
    lines += [f"pub mod {module};" for module in MODULES]
    lines.append("pub use error::{EmbeddingError, Result, Source};")
    for path, types in TYPES.items():
        opening = "".join(f"pub mod {name} {{\n" for name in path.split("::"))
        lines.append(opening + "\n".join(item(*place) for place in types) + "\n}" * len(path.split("::")))
    return "\n".join(lines) + "\n"


def manifest() -> str:
    """The crate's `Cargo.toml`: without programs and examples, whose sources are not there."""
    text = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    text = re.sub(r"^\[\[(?:bin|example|test|bench)\]\]\n(?:(?!\[).*\n)*", "", text, flags=re.MULTILINE)
    # A workspace of its own, inside the repository or not.
    return text + "\n[workspace]\n"


def make_crate(folder: Path) -> None:
    """Write the crate, anew but for what was compiled."""
    shutil.rmtree(folder / "src", ignore_errors=True)
    (folder / "src").mkdir(parents=True)
    for module in MODULES:
        for source in (ROOT / "src" / module, ROOT / "src" / f"{module}.rs"):
            if source.is_dir():
                shutil.copytree(source, folder / "src" / module)
            elif source.is_file():
                shutil.copy2(source, folder / "src")
    (folder / "src" / "lib.rs").write_text(library(), encoding="utf-8")
    for name in DATA:
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(ROOT / name)
    shutil.copy2(ROOT / "Cargo.lock", folder)
    (folder / "Cargo.toml").write_text(manifest(), encoding="utf-8")
    (folder / ".cargo").mkdir(exist_ok=True)
    shutil.copy2(ROOT / ".cargo" / "mutants.toml", folder / ".cargo")


def limit_memory() -> None:
    """Keep a fault from taking the machine's memory, where a system has such limits."""
    if sys.platform != "win32":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def main() -> int:
    """Run cargo-mutants on the crate; return its exit status."""
    parser = argparse.ArgumentParser(
        description="Which faults in planning, pooling and config does no test find?",
        epilog="What follows -- is for cargo-mutants.",
    )
    parser.add_argument("folder", type=Path, help="where the crate is made, and the results are")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    folder = parser.parse_args(words[:end]).folder.resolve()
    make_crate(folder)
    limit_memory()
    environment = {
        **os.environ,
        "CARGO_TARGET_DIR": str(folder / "target"),
        # The faults are many and their tests short.
        "CARGO_PROFILE_DEV_OPT_LEVEL": "0",
        "CARGO_PROFILE_DEV_DEBUG": "0",
    }
    command = ["cargo", "mutants", "--dir", str(folder), "--gitignore", "false", "--colors", "never", *words[end + 1 :]]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
