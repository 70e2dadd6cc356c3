"""Whether the tests notice wrong code: `make mutations` changes single places of the source and runs the tests.

    python tests/mutations/run.py [--count 40] [--seed 0] [--out FILE] [--list] [--match TEXT] [--limit N]

Each mutation is applied to a separate work tree of the last commit. First the tests of the same room run, then those of
`make test`. Finished mutations are in the file of results, one JSON object a line, and are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from candidates import Mutation, collect, draw

from zoo.files.markdown import markdown_table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results.jsonl")
EXPLAINED = Path(__file__).with_name("explained.yaml")
LIMIT = 1800.0
"""Seconds after which a run of the tests counts as caught: the mutation made a loop endless."""
ELSEWHERE = {"pictures": "comparison", "scaffold": "thirdparty"}
"""Rooms that are tested with another one."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=40, help="number of mutations, if two a room are not more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS, help="file of results")
    parser.add_argument("--match", default="", help="run only mutations whose place contains this text")
    parser.add_argument("--limit", type=int, help="run at most this many mutations now")
    parser.add_argument("--workers", type=int, default=2, help="processes for the tests of all rooms")
    parser.add_argument("--list", action="store_true", help="only print the mutations that are drawn")
    parser.add_argument("--no-baseline", action="store_true", help="do not run the tests without a mutation first")
    asked = parser.parse_args()
    if asked.list:
        drawn = draw(collect(ROOT), count=asked.count, seed=asked.seed)
        print(markdown_table(["place", "mutation"], [[f"{m.path}:{m.line}", str(m)] for m in drawn]))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # so that the work tree is removed
    with work_tree() as (tree, python):
        drawn = draw(collect(tree), count=asked.count, seed=asked.seed)
        done = read(asked.out)
        waiting = [m for m in drawn if m.key not in done and asked.match in f"{m.path}:{m.line}"][: asked.limit]
        if waiting and not asked.no_baseline and (failed := failure(tree, python, ["tests"], asked.workers)):
            raise SystemExit(f"a test fails without a mutation: {failed}. Fix: make the tests pass first")
        for number, mutation in enumerate(waiting, 1):
            found = outcome(mutation, tree, python, asked.workers)
            done[mutation.key] = found
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(found, ensure_ascii=False) + "\n")
            print(f"[{number}/{len(waiting)}] {mutation.path}:{mutation.line} {mutation}: "
                  f"{found['caught_by'] or 'SURVIVED'} ({found['seconds']:.0f} s)", file=sys.stderr, flush=True)
    return report([done[m.key] for m in drawn if m.key in done], len(drawn))


def outcome(mutation: Mutation, tree: Path, python: Path, workers: int) -> dict[str, Any]:
    """Apply a mutation, run the tests until one fails, and restore the file."""
    start, path = time.monotonic(), tree / mutation.path
    source = path.read_text(encoding="utf-8")
    path.write_text(mutation.apply(source), encoding="utf-8")
    try:
        own = tests_of(mutation.room, tree)
        caught = failure(tree, python, own, 0) if own else None
        caught = caught or failure(tree, python, ["tests"], workers)
    finally:
        path.write_text(source, encoding="utf-8")
    return {"key": mutation.key, "file": mutation.path, "line": mutation.line, "kind": mutation.kind,
            "mutation": str(mutation), "caught_by": caught, "seconds": round(time.monotonic() - start, 1)}


def tests_of(room: str, tree: Path) -> list[str]:
    """The tests of a room: the folder of its name, or the tests without a folder for modules without a room."""
    if room == "zoo":
        return sorted(path.relative_to(tree).as_posix() for path in tree.glob("tests/test_*.py"))
    name = "plugins" if room.startswith("plugins") else room.partition("/")[2]
    name = ELSEWHERE.get(name, name)
    return [f"tests/{name}"] if (tree / "tests" / name).is_dir() else []


def failure(tree: Path, python: Path, tests: Sequence[str], workers: int) -> str | None:
    """The first test that fails; ``None`` if all pass."""
    parallel = ["-n", str(workers), "--dist", "worksteal"] if workers > 1 else []
    command = [str(python), "-m", "pytest", "-x", "-q", "-rfE", "-m", "not slow", "-p", "no:cacheprovider",
               "--show-capture=no", "--tb=no", *parallel, *tests]
    try:
        ran = subprocess.run(command, cwd=tree, env=variables(), capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"no end after {LIMIT:.0f} s"
    if ran.returncode in (0, 5):  # 5: no tests were collected
        return None
    named = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, flags=re.M)
    last = (ran.stdout + ran.stderr).strip().splitlines()[-1:] or ["no output"]
    return named[1] if named else f"exit status {ran.returncode}: {last[0]}"


def variables() -> dict[str, str]:
    """The environment variables of this process, without those that lead to another copy of the package."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def work_tree() -> Iterator[tuple[Path, Path]]:
    """A work tree of the last commit, and a Python that imports the package from it."""
    with tempfile.TemporaryDirectory(prefix="zoo-mutations-") as folder:
        tree, environment = Path(folder, "tree"), Path(folder, "venv")
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(tree), "HEAD"], cwd=ROOT, check=True)
        try:
            yield tree, python_for(tree, environment)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


def python_for(tree: Path, environment: Path) -> Path:
    """An environment with the packages of this one, where the package itself is installed from ``tree``."""
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    site = next((environment / "lib").glob("python*/site-packages"))
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    # Directories in a .pth file are searched, but .pth files in them (that of an editable install) are not read.
    (site / "packages.pth").write_text("\n".join(packages) + "\n", encoding="utf-8")
    subprocess.run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
                    "--no-build-isolation", "-e", str(tree)], check=True, env=variables())
    where = subprocess.run([str(python), "-c", "import zoo, zoo_plugins.painn as p; print(zoo.__file__, p.__file__)"],
                           cwd=environment, env=variables(), capture_output=True, text=True,
                           check=True).stdout.split()
    if not all(Path(file).is_relative_to(tree) for file in where):
        raise SystemExit(f"the environment imports {where}, not {tree}. Fix: run this in an environment without an "
                         "installed copy of the package on its path")
    return python


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Finished mutations by key."""
    if not path.is_file():
        return {}
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {entry["key"]: entry for entry in found}


def report(found: list[dict[str, Any]], drawn: int) -> int:
    """Print the table; status 1 if fewer than 95 % of the mutations were caught."""
    rows = [[f"{entry['file']}:{entry['line']}", entry["mutation"],
             entry["caught_by"] or explanation(entry) or "**survived**"] for entry in found]
    caught = sum(entry["caught_by"] is not None for entry in found)
    explained = sum(entry["caught_by"] is None and explanation(entry) is not None for entry in found)
    print(markdown_table(["place", "mutation", "caught by, or why it makes no difference"], rows))
    print(f"\n{caught} of {len(found)} caught, {explained} explained; {drawn - len(found)} not run yet")
    return 0 if caught >= 0.95 * (len(found) - explained) else 1


def explanation(entry: dict[str, Any]) -> str | None:
    """Why a mutation makes no difference, from ``explained.yaml``; only for the line that was explained."""
    known = yaml.safe_load(EXPLAINED.read_text(encoding="utf-8"))
    line = (ROOT / entry["file"]).read_text(encoding="utf-8").splitlines()[entry["line"] - 1].strip()
    return next((f"– ({one['reason']})" for one in known
                 if (one["file"], one["line"], one["mutation"]) == (entry["file"], line, entry["mutation"])), None)


if __name__ == "__main__":
    sys.exit(main())
