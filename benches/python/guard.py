"""Has anything that runs for every text become more expensive? Counts instructions here and in another commit.

    make guard                     # against the commit that this work started from
    make guard BASE=v1.0.0         # against any other
    python benches/python/guard.py --base HEAD~3 --limit 2

Both sides are built alike and run under valgrind, which counts the same on a busy machine and on an idle one; more than
5% more instructions in any bench is a failure. benches/guard has the benches. Without `--base` the other commit is the
last one that origin/main has too, or, where that is this one, the last before the changes at hand.

Exit status: 0 nothing grew, or there is nothing to compare with; 1 something grew; 2 it could not be found out.
Needs valgrind, and gungraun-runner of the version in benches/Cargo.toml, which `make guard` installs into target.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
RUNNER = ROOT / "target" / "guard-runner" / "bin" / "gungraun-runner"
BASE_TREE = ROOT / "target" / "guard-base"
BENCH = Path("benches", "guard", "main.rs")
NO_VALGRIND = (
    "make guard counts instructions with valgrind, and there is none on the PATH. Install it (Debian and Ubuntu: "
    "`apt-get install valgrind`; Fedora: `dnf install valgrind`), or leave this check to CI. There is none for Windows "
    "and for Macs with Apple silicon. Times are no substitute: on a busy machine, alike builds differ by more than 5%."
)

Counts = dict[str, int]


def stop(message: str) -> NoReturn:
    """Ends the program: it could not be found out."""
    print(f"guard: {message}", file=sys.stderr)
    raise SystemExit(2)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", metavar="COMMIT", help="what to compare with (default: see above)")
    parser.add_argument(
        "--limit", type=float, default=5.0, metavar="PERCENT", help="how much may be added (default: 5)"
    )
    return parser.parse_args()


def git(*arguments: str) -> str | None:
    """What git prints; None where it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def base_commit(asked: str | None) -> str:
    """The commit to compare with."""
    if asked:
        # An empty tree would build nothing: only what is a commit.
        return git("rev-parse", "--verify", "--quiet", f"{asked}^{{commit}}") or stop(f"{asked!r} is no commit here")
    head = git("rev-parse", "HEAD") or stop("this is no git repository: there is no other commit to compare with")
    common = git("merge-base", "HEAD", "origin/main")
    if common and common != head:
        return common
    if git("status", "--porcelain", "--untracked-files=no"):
        return head
    return git("rev-parse", "--verify", "--quiet", "HEAD~1") or stop("there is no commit before this one")


def check_out(commit: str) -> Path:
    """The files of a commit, in a folder of their own."""
    git("worktree", "remove", "--force", str(BASE_TREE))
    git("worktree", "prune")
    if git("worktree", "add", "--detach", str(BASE_TREE), commit) is None:
        stop(f"git could not check {commit} out into {BASE_TREE.relative_to(ROOT)}")
    return BASE_TREE


def count(tree: Path, side: str) -> Counts:
    """Builds and runs the benches of a tree; the instructions of each, by its name."""
    command = ["cargo", "bench", "--manifest-path", str(tree / "benches" / "Cargo.toml"), "--bench", "guard"]
    # Both sides share what they depend on, and nothing else: a package is known by its folder.
    command += ["--profile", "guard", "--target-dir", str(ROOT / "target"), "--", "--output-format=json"]
    counts = ROOT / "target" / "guard-counts" / side
    shutil.rmtree(counts, ignore_errors=True)
    environment = {**os.environ, "GUNGRAUN_RUNNER": str(RUNNER), "GUNGRAUN_HOME": str(counts)}
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout)
        stop(f"the benches of {side} failed (status {done.returncode}); what they said stands above")
    return dict(named_count(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{"))


def named_count(summary: dict[str, Any]) -> tuple[str, int]:
    """Name and instructions of one bench, of gungraun's report."""
    name = "/".join(part for part in (summary["module_path"], summary["id"]) if part)
    (profile,) = [profile for profile in summary["profiles"] if profile["tool"] == "Callgrind"]
    instructions = profile["data"]["total"]["metrics"]["Ir"]["values"]["new"]
    return name.removeprefix("guard::").replace("_benches::", "/"), int(instructions)


def compare(base: Counts, here: Counts, limit: float) -> list[str]:
    """Prints both sides; what grew by more than `limit` percent, in words."""
    grown = []
    print(f"{'instructions of':46} {'base':>14} {'here':>14} {'change':>9}")
    for name in sorted(base.keys() | here.keys()):
        before, now = base.get(name), here.get(name)
        change = (now / before - 1) * 100 if before and now is not None else None
        shown = "" if change is None else f"{change:+.2f}%"
        columns = ("new" if before is None else f"{before:,}", "removed" if now is None else f"{now:,}")
        print(f"{name:46} {columns[0]:>14} {columns[1]:>14} {shown:>9}")
        if change is not None and change > limit:
            grown.append(f"{name} takes {change:.1f}% more instructions ({before:,} before, {now:,} now)")
    return grown


def main() -> int:
    """Counts both sides and compares."""
    arguments = parse()
    if shutil.which("valgrind") is None:
        stop(NO_VALGRIND)
    if not RUNNER.is_file():
        stop("gungraun-runner is not installed: run `make guard`, which installs it")
    commit = base_commit(arguments.base)
    tree = check_out(commit)
    print(f"Counting the instructions of these sources and of {git('log', '-1', '--format=%h %s', commit)}")
    here = count(ROOT, "here")
    if not (tree / BENCH).is_file():
        print(f"That commit has no {BENCH}: there is nothing to compare with, and nothing to fail.")
        return 0
    grown = compare(count(tree, "base"), here, arguments.limit)
    if not grown:
        print(f"Nothing takes more than {arguments.limit:g}% more instructions.")
        return 0
    print(f"\nMore than {arguments.limit:g}% more:", *grown, sep="\n  ", file=sys.stderr)
    print(
        "If that is the price of something that is worth it, say so in the commit and in CHANGELOG.md.", file=sys.stderr
    )
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
