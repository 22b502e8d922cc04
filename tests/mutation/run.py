"""Would the tests notice? ``make mutants`` puts one fault at a time into a copy of the package; its tests should fail.

    killed      a test failed; its line names the first that did
    late        only the wider selection noticed: the fault's own tests in ``mutants.py`` should be changed
    timeout     it never ended, which would have been noticed
    survived    everything passed: a test is missing
    error       the text is not (once) in the file, or the fault does not even import, so that nothing was tried

The working tree is only read. Before any fault the copy as it is must pass the same tests, or a failure would mean
nothing; each run makes sure that the copy is the package it imports. The exit status is 1 where a fault survived or
could not be tried. Words choose among the faults by what they mean or by their file: ``make mutants ARGS="gae ppo"``.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from mutants import MUTANTS, Mutant
from rich.console import Console

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "amend"
WIDER = (
    "ops test_batch.py policy rollout exploration algo --ignore=tests/algo/test_trl.py "
    "--ignore=tests/algo/test_knobs.py "
    "--deselect=tests/algo/test_behaviour.py::test_a_new_algorithm_is_a_file_and_a_yaml"
)
# In the process that runs the tests, before anything is imported: it is the copy that they will import.
PYTEST = """
import importlib.util, sys
found = importlib.util.find_spec("amend").origin
if not found.startswith(sys.argv[1]):
    sys.exit(f"amend is imported from {found}")
import pytest
sys.exit(pytest.main(sys.argv[2:]))
"""
PASSED, FAILED, TIMEOUT = 0, 1, 124
STYLES = {"killed": "green", "timeout": "green", "late": "yellow", "survived": "red", "error": "red"}
Verdict = Literal["killed", "late", "timeout", "survived", "error"]


class Found(NamedTuple):
    """What became of a fault: the verdict, the first test that noticed (or the reason of an error), and seconds."""

    verdict: Verdict
    by: str
    seconds: float


class MutantError(Exception):
    """A fault that cannot be tried, or tests that fail without one."""


@contextmanager
def copied() -> Iterator[Path]:
    """A folder with the package as it stands, to be changed; what is large, or no code, is only linked to."""
    with tempfile.TemporaryDirectory(prefix="amend-mutant-") as name:
        home = Path(name)
        large = PACKAGE / "policy" / "tiny"
        shutil.copytree(PACKAGE, home / "src" / "amend", ignore=shutil.ignore_patterns(large.name))
        (home / "src" / "amend" / "policy" / large.name).symlink_to(large)
        (home / "conf").symlink_to(ROOT / "conf")
        yield home


def change(home: Path, mutant: Mutant) -> None:
    """Put the fault into the copy."""
    path = home / "src" / "amend" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise MutantError(f"{mutant.file} has {text.count(mutant.old)} of: {mutant.old}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")


def outcome(home: Path, tests: str, seconds: float) -> tuple[int, str]:
    """pytest's exit status over ``tests`` against the copy, and its last words."""
    words = [word if word.startswith("-") else f"tests/{word}" for word in tests.split()]
    command = [sys.executable, "-c", PYTEST, str(home), *words, "-x", "-q", "--tb=line", "-p", "no:cacheprovider"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(home / "src"),
        "OMP_NUM_THREADS": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(home / "hypothesis"),
    }
    try:
        said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return TIMEOUT, f"more than {seconds:.0f} s"
    if said.returncode not in (PASSED, FAILED):
        lines = (said.stdout + said.stderr).strip().splitlines() or ["it said nothing"]
        raise MutantError(next((line for line in lines if line.startswith("E  ")), lines[-1]))
    return said.returncode, said.stdout


def first_failure(words: str) -> str:
    """The test that noticed."""
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+)", words, flags=re.MULTILINE)
    return found[1] if found else words.strip().splitlines()[-1]


def tried(mutant: Mutant, seconds: float) -> Found:
    """One fault, against its own tests and, where they pass, against the wider selection."""
    began = time.perf_counter()

    def found(verdict: Verdict, by: str) -> Found:
        return Found(verdict, by, time.perf_counter() - began)

    try:
        with copied() as home:
            change(home, mutant)
            for tests, verdict in ((mutant.tests, "killed"), (WIDER, "late")):
                status, words = outcome(home, tests, seconds if verdict == "killed" else 10 * seconds)
                if status == TIMEOUT:
                    return found("timeout", words)
                if status == FAILED:
                    return found(verdict, first_failure(words))  # type: ignore[arg-type]
    except MutantError as error:
        return found("error", str(error))
    return found("survived", "")


def sound(mutants: Sequence[Mutant], seconds: float) -> None:
    """MutantError where these faults' own tests fail without any fault."""
    tests = sorted({word for mutant in mutants for word in mutant.tests.split()})
    with copied() as home:
        status, words = outcome(home, " ".join(tests), seconds)
        if status != PASSED:
            raise MutantError(f"without any fault: {first_failure(words) if status == FAILED else words}")


def chosen(words: Sequence[str]) -> list[Mutant]:
    """The faults whose file or meaning has one of the words; all of them without words."""
    return [m for m in MUTANTS if not words or any(word.lower() in f"{m.file} {m.what}".lower() for word in words)]


def main() -> int:
    """A line a fault, and 1 where a fault survived or could not be tried."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults whose file or meaning has one of these")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many at once")
    parser.add_argument("--timeout", type=float, default=180, help="seconds for a fault's own tests")
    asked = parser.parse_args()
    mutants, console = chosen(asked.words), Console()
    try:
        sound(mutants, 20 * asked.timeout)
    except MutantError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    left = []
    with ThreadPoolExecutor(asked.jobs) as pool:
        for mutant, found in zip(mutants, pool.map(lambda one: tried(one, asked.timeout), mutants), strict=True):
            line = f"{found.verdict:9}{mutant.file:27}{mutant.what:55}{found.by} ({found.seconds:.0f} s)"
            console.print(line, style=STYLES[found.verdict], markup=False, highlight=False, soft_wrap=True)
            left += [mutant] * (found.verdict in ("survived", "error"))
    console.print(f"{len(mutants)} faults, {len(left)} of them survived or could not be tried")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
