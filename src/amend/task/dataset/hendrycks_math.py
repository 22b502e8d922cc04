"""Hendrycks' MATH from files or from the hub, in the 12,000/500 split of Lightman et al. that SCoRe uses.

    folder    math_train.jsonl and math500.jsonl, or train.jsonl and test.jsonl (as in openai/prm800k), a JSON object
              a line; or train/<subject>/*.json and test/<subject>/*.json, as Hendrycks et al. published it
    hub id    owner/name, with a train and a test split (one configuration, or one a subject)
    hendrycks the 12,000/500 split, put together from two hub ids: all of MATH less MATH-500, and MATH-500

A row has ``problem``, ``level`` (3 or "Level 3"), ``subject`` or ``type``, and ``answer`` or ``solution``, the answer
then being what the solution boxes last. Two rows of MATH carry "Level ?": theirs is level 0, and they are kept only
where all five levels are. Two have an empty answer; they are kept, so that the counts are the papers'.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from amend.errors import UserError
from amend.task.dataset.jsonl import Placed, Row, at, content, parsed, text
from amend.task.dataset.sources import Table, digest, first_file, from_file, from_hub, is_local
from amend.task.dataset.splits import SPLITS, Split
from amend.task.grading.extract_answer import boxed
from amend.types import Problem

WHOLE, HELD_BACK = "DigitalLearningGmbH/MATH-lighteval", "HuggingFaceH4/MATH-500"
NAMES = {"train": ("math_train.jsonl", "train.jsonl"), "test": ("math500.jsonl", "test.jsonl")}
SEED = 500  # of the choice of validation problems: part of what the split is, so not a knob
LEVELS = frozenset({1, 2, 3, 4, 5})
LAYOUT = " and ".join(names[0] for names in NAMES.values())


class Hendrycks:
    """The three splits of MATH. ``provenance`` tells, for "train" and "test", the source, its SHA-256 and row count.

    ``validation`` problems are held out of the training file, the same ones every time; ``test`` is at most how many
    test problems are used. Raises UserError naming the file, the line and the field where something is missing.
    """

    def __init__(self, source: str, *, levels: list[int], validation: int, test: int) -> None:
        if not levels or not set(levels) <= LEVELS:
            raise UserError(f"task.levels={levels}: allowed: some of 1, 2, 3, 4, 5")
        self.provenance: dict[str, dict[str, str | int]] = {}
        local = is_local(source, beside=("builtin", "hendrycks"), layout=f"{LAYOUT} (or train.jsonl and test.jsonl)")
        tables = _folder(Path(source).expanduser()) if local else _hub(source)
        read = {name: self._read(name, tables[name]) for name in ("train", "test")}
        kept = {name: [p for p in read[name] if _keeps(p, levels)] for name in read}
        rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index("val")]))
        shuffled = [read["train"][i] for i in rng.permutation(len(read["train"]))]
        held = [problem for problem in shuffled if _keeps(problem, levels)][:validation]
        held_ids = {problem.id for problem in held}
        train = [problem for problem in kept["train"] if problem.id not in held_ids]
        if not train or len(held) < validation or not kept["test"]:
            raise UserError(
                f"task.validation={validation}, task.levels={levels}: {source} has {len(kept['train'])} training and "
                f"{len(kept['test'])} test problems of these levels; some of each must remain"
            )
        self._splits: dict[str, list[Problem]] = {"train": train, "val": held, "test": _some(kept["test"], test)}
        self.by_id = {problem.id: problem for name in read for problem in read[name]}

    def problems(self, split: Split) -> list[Problem]:
        """The problems of a split, in the order of their file (validation: in the order they were drawn)."""
        return self._splits[split]

    def _read(self, name: str, table: Table) -> list[Problem]:
        self.provenance[name] = table.provenance
        problems = []
        for number, (where, row) in enumerate(table.rows, 1):
            with at(where):
                problems.append(_problem(f"math-{name}-{number}", row))
        return problems


def gold(row: Row) -> str:
    """The right answer of a row: ``gold`` or ``answer``, or what ``solution`` boxes last. UserError without any."""
    if "gold" in row or "answer" in row:
        return text(row, "gold", "answer").strip()
    if "solution" not in row:
        raise UserError("field 'answer' is missing, and so is 'solution', which could stand in for it")
    found = boxed(text(row, "solution"))
    if found is None:
        raise UserError("field 'answer' is missing, and 'solution' has no \\boxed{} to read it from")
    return found


def _problem(identity: str, row: Row) -> Problem:
    meta = {
        "level": _level(row),
        "subject": text(row, "subject", "type"),
        "solution": text(row, "solution") if "solution" in row else "",
    }
    return Problem(id=identity, question=text(row, "problem"), target=gold(row), meta=meta)


def _level(row: Row) -> int:
    if "level" not in row:
        raise UserError("field 'level' is missing")
    found = re.fullmatch(r"(?:Level )?([1-5?])", str(row["level"]))
    if found is None:
        raise UserError(f'field \'level\' is {str(row["level"])[:60]!r}; allowed: 1 to 5, or "Level 1" to "Level 5"')
    return 0 if found.group(1) == "?" else int(found.group(1))


def _keeps(problem: Problem, levels: list[int]) -> bool:
    return problem.meta["level"] in levels or set(levels) == LEVELS


def _some(problems: list[Problem], count: int) -> list[Problem]:
    """All, or ``count`` of them chosen once and for all, in the order of their file."""
    rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index("test")]))
    return [problems[i] for i in sorted(rng.permutation(len(problems))[:count])]


# Where rows come from -------------------------------------------------------------------------------------------------


def _folder(folder: Path) -> dict[str, Table]:
    return {name: _files(folder, name) for name in NAMES}


def _files(folder: Path, name: str) -> Table:
    files = sorted((folder / name).glob("*/*.json"), key=lambda file: (file.parent.name, len(file.stem), file.stem))
    if not files or any((folder / candidate).is_file() for candidate in NAMES[name]):
        return from_file(first_file(folder, (*NAMES[name], f"{name}/<subject>/*.json"), name))
    hashed = hashlib.sha256()
    rows: list[Placed] = []
    for file in files:
        read = content(file)
        hashed.update(read)
        with at(str(file)):
            rows.append((str(file), parsed(read)))
    return Table(str(folder / name), hashed.hexdigest(), rows)


def _hub(source: str) -> dict[str, Table]:
    if source != "hendrycks":
        return {name: from_hub(source, name, None, layout=LAYOUT) for name in NAMES}
    test = from_hub(HELD_BACK, "test", None, layout=LAYOUT, beside=(WHOLE,))
    everything = [from_hub(WHOLE, name, None, layout=LAYOUT, beside=(HELD_BACK,)).rows for name in NAMES]
    held = {str(row.get("problem")).strip() for _, row in test.rows}
    rest = [placed for part in everything for placed in part if str(placed[1].get("problem")).strip() not in held]
    return {"train": Table(f"{WHOLE} less {HELD_BACK}", digest(row for _, row in rest), rest), "test": test}
