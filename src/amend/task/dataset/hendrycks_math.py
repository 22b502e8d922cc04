"""Read MATH (Hendrycks et al. 2021) from files or the hub, for example in the 12,000/500 split of Lightman et al. 2023.

SCoRe uses this split. A source is one of:

    folder      math_train.jsonl and math500.jsonl, or train.jsonl and test.jsonl (as in openai/prm800k), with one JSON
                object per line; or train/<subject>/*.json and test/<subject>/*.json, the published layout
    hub id      owner/name, with a train and a test split, in one configuration or one configuration per subject
    hendrycks   the 12,000/500 split from two hub ids: MATH without MATH-500 for training, and MATH-500 for test

A row has the fields ``problem``, ``level`` (3 or "Level 3"), ``subject`` or ``type``, and ``answer`` or ``solution``.
Without ``answer``, the answer is the last boxed expression of ``solution``. Two rows of MATH have "Level ?". They get
level 0, and are used only if all five levels are selected. Two rows have an empty answer. They are kept, so that the
number of problems equals that of the papers.
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
from amend.task.grading.extract_answer import extract_answer
from amend.types import Problem

WHOLE, HELD_BACK = "DigitalLearningGmbH/MATH-lighteval", "HuggingFaceH4/MATH-500"
NAMES = {"train": ("math_train.jsonl", "train.jsonl"), "test": ("math500.jsonl", "test.jsonl")}
SEED = 500  # selects the validation and test problems; no option, because it defines the splits
LEVELS = frozenset({1, 2, 3, 4, 5})
LAYOUT = " and ".join(names[0] for names in NAMES.values())


class Hendrycks:
    """The three splits of MATH.

    The attribute ``provenance`` contains the source, its SHA-256 and its number of rows, for "train" and "test". The
    attribute ``by_id`` contains all problems, also those of unselected levels.

    Args:
        source: A folder, a hub id or "hendrycks", see the module.
        levels: The selected levels, from 1 to 5.
        validation: Number of validation problems, a fixed selection from the training problems.
        test: Maximum number of test problems, a fixed selection.

    Raises:
        UserError: If the source cannot be read, if a row lacks a field, or if a split has too few problems.
    """

    def __init__(self, source: str, *, levels: list[int], validation: int, test: int) -> None:
        if not levels or not set(levels) <= LEVELS:
            raise UserError(f"task.levels={levels}: allowed: some of 1, 2, 3, 4, 5")
        self.provenance: dict[str, dict[str, str | int]] = {}
        local = is_local(source, keywords=("builtin", "hendrycks"), layout=f"{LAYOUT} (or train.jsonl and test.jsonl)")
        tables = _read_folder(Path(source).expanduser()) if local else _read_hub(source)
        problems = {name: self._read(name, tables[name]) for name in ("train", "test")}
        selected = {name: [p for p in problems[name] if _is_selected(p, levels)] for name in problems}
        rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index("val")]))
        shuffled = [problems["train"][i] for i in rng.permutation(len(problems["train"]))]
        val = [problem for problem in shuffled if _is_selected(problem, levels)][:validation]
        val_ids = {problem.id for problem in val}
        train = [problem for problem in selected["train"] if problem.id not in val_ids]
        if not train or len(val) < validation or not selected["test"]:
            raise UserError(
                f"task.validation={validation}, task.levels={levels}: {source} has {len(selected['train'])} training "
                f"and {len(selected['test'])} test problems of these levels; training and test problems must remain"
            )
        test_problems = _subset(selected["test"], test)
        self._splits: dict[str, list[Problem]] = {"train": train, "val": val, "test": test_problems}
        self.by_id = {problem.id: problem for name in problems for problem in problems[name]}

    def problems(self, split: Split) -> list[Problem]:
        """Return the problems of a split: validation in sampled order, the other splits in the order of their file."""
        return self._splits[split]

    def _read(self, name: str, table: Table) -> list[Problem]:
        self.provenance[name] = table.provenance
        problems = []
        for number, (where, row) in enumerate(table.rows, 1):
            with at(where):
                problems.append(_problem(f"math-{name}-{number}", row))
        return problems


def gold(row: Row) -> str:
    """Return the gold answer of a row.

    Args:
        row: A row of MATH, or a row that ``job=grade`` wrote.

    Returns:
        The field ``gold`` or ``answer``, otherwise the last boxed expression of ``solution``.

    Raises:
        UserError: If the row has none of these.
    """
    if "gold" in row or "answer" in row:
        return text(row, "gold", "answer").strip()
    if "solution" not in row:
        raise UserError("field 'answer' is missing, and so is 'solution', which may replace it")
    answer = extract_answer(text(row, "solution"))
    if answer is None:
        raise UserError("field 'answer' is missing, and 'solution' has no \\boxed{}")
    return answer


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
    match = re.fullmatch(r"(?:Level )?([1-5?])", str(row["level"]))
    if match is None:
        raise UserError(f'field \'level\' is {str(row["level"])[:60]!r}; allowed: 1 to 5, or "Level 1" to "Level 5"')
    return 0 if match.group(1) == "?" else int(match.group(1))


def _is_selected(problem: Problem, levels: list[int]) -> bool:
    return problem.meta["level"] in levels or set(levels) == LEVELS


def _subset(problems: list[Problem], count: int) -> list[Problem]:
    """Return all problems, or a fixed selection of ``count`` problems, in the order of their file."""
    rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index("test")]))
    return [problems[i] for i in sorted(rng.permutation(len(problems))[:count])]


# Sources --------------------------------------------------------------------------------------------------------------


def _read_folder(folder: Path) -> dict[str, Table]:
    return {name: _read_split(folder, name) for name in NAMES}


def _read_split(folder: Path, name: str) -> Table:
    files = sorted((folder / name).glob("*/*.json"), key=lambda file: (file.parent.name, len(file.stem), file.stem))
    if not files or any((folder / candidate).is_file() for candidate in NAMES[name]):
        return from_file(first_file(folder, (*NAMES[name], f"{name}/<subject>/*.json"), name))
    sha256 = hashlib.sha256()
    rows: list[Placed] = []
    for file in files:
        data = content(file)
        sha256.update(data)
        with at(str(file)):
            rows.append((str(file), parsed(data)))
    return Table(str(folder / name), sha256.hexdigest(), rows)


def _read_hub(source: str) -> dict[str, Table]:
    if source != "hendrycks":
        return {name: from_hub(source, name, None, layout=LAYOUT) for name in NAMES}
    test = from_hub(HELD_BACK, "test", None, layout=LAYOUT, other_ids=(WHOLE,))
    tables = [from_hub(WHOLE, name, None, layout=LAYOUT, other_ids=(HELD_BACK,)).rows for name in NAMES]
    test_questions = {str(row.get("problem")).strip() for _, row in test.rows}
    train = [item for rows in tables for item in rows if str(item[1].get("problem")).strip() not in test_questions]
    return {"train": Table(f"{WHOLE} less {HELD_BACK}", digest(row for _, row in train), train), "test": test}
