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
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from amend.errors import UserError
from amend.task.base import SPLITS, Split
from amend.task.grade import boxed
from amend.task.rows import Placed, Row, at, content, lines, parsed, text
from amend.types import Problem

WHOLE, HELD_BACK = "DigitalLearningGmbH/MATH-lighteval", "HuggingFaceH4/MATH-500"
NAMES = {"train": ("math_train.jsonl", "train.jsonl"), "test": ("math500.jsonl", "test.jsonl")}
SEED = 500  # of the choice of validation problems: part of what the split is, so not a knob
LEVELS = frozenset({1, 2, 3, 4, 5})
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


class Hendrycks:
    """The three splits of MATH. ``provenance`` tells, for "train" and "test", the source, its SHA-256 and row count.

    ``validation`` problems are held out of the training file, the same ones every time; ``test`` is at most how many
    test problems are used. Raises UserError naming the file, the line and the field where something is missing.
    """

    def __init__(self, source: str, *, levels: list[int], validation: int, test: int) -> None:
        if not levels or not set(levels) <= LEVELS:
            raise UserError(f"task.levels={levels}: allowed: some of 1, 2, 3, 4, 5")
        self.provenance: dict[str, dict[str, str | int]] = {}
        rows = _folder(Path(source).expanduser()) if _is_folder(source) else _hub(source)
        read = {name: self._read(name, *rows[name]) for name in ("train", "test")}
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

    def _read(self, name: str, source: str, digest: str, rows: list[Placed]) -> list[Problem]:
        self.provenance[name] = {"source": source, "sha256": digest, "rows": len(rows)}
        problems = []
        for number, (where, row) in enumerate(rows, 1):
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
    return Problem(id=identity, question=text(row, "problem"), answer=gold(row), meta=meta)


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


# Where rows come from: for train and for test, what it is called, the SHA-256 of its content, and the rows ------------

Source = dict[str, tuple[str, str, list[Placed]]]


def _is_folder(source: str) -> bool:
    path = Path(source).expanduser()
    if path.is_dir():
        return True
    if source == "hendrycks" or HUB_ID.fullmatch(source):
        return False
    raise UserError(
        f"task.source={source}: no such folder; allowed: builtin, hendrycks, a hub id (owner/name), or a folder with "
        f"{' and '.join(names[0] for names in NAMES.values())} (or train.jsonl and test.jsonl)"
    )


def _folder(folder: Path) -> Source:
    return {name: _files(folder, name) for name in NAMES}


def _files(folder: Path, name: str) -> tuple[str, str, list[Placed]]:
    for file in (folder / candidate for candidate in NAMES[name]):
        if file.is_file():
            read = content(file)
            return str(file), hashlib.sha256(read).hexdigest(), list(lines(file, read))
    files = sorted((folder / name).glob("*/*.json"), key=lambda file: (file.parent.name, len(file.stem), file.stem))
    if not files:
        raise UserError(
            f"task.source={folder}: no {name} problems; looked for {', '.join(NAMES[name])} and {name}/<subject>/*.json"
        )
    digest = hashlib.sha256()
    rows: list[Placed] = []
    for file in files:
        read = content(file)
        digest.update(read)
        with at(str(file)):
            rows.append((str(file), parsed(read)))
    return str(folder / name), digest.hexdigest(), rows


def _hub(source: str) -> Source:
    if source != "hendrycks":
        return {name: _fetched(source, name) for name in NAMES}
    test = _fetched(HELD_BACK, "test")
    everything = [_fetched(WHOLE, name)[2] for name in NAMES]
    held = {str(row.get("problem")).strip() for _, row in test[2]}
    rest = [placed for part in everything for placed in part if str(placed[1].get("problem")).strip() not in held]
    return {"train": (f"{WHOLE} less {HELD_BACK}", _digest(row for _, row in rest), rest), "test": test}


def _fetched(source: str, name: str) -> tuple[str, str, list[Placed]]:
    """One split of a hub data set; all its configurations one after the other where it has several."""
    import datasets

    try:
        try:
            tables = {"": datasets.load_dataset(source, split=name)}
        except ValueError as error:
            if "config name is missing" not in str(error).lower():
                raise
            parts = sorted(datasets.get_dataset_config_names(source))
            tables = {f" ({part})": datasets.load_dataset(source, part, split=name) for part in parts}
    except Exception as error:  # the hub's client has no one class for "not there", "no network" and "no such split"
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        raise UserError(
            f"task.source={source}: cannot be had from the hub ({what}); where there is a network, fetch it with: "
            f"python -c \"import datasets; datasets.load_dataset('{source}')\"; or name a folder with "
            f"{' and '.join(names[0] for names in NAMES.values())} in it: task.source=FOLDER"
        ) from error
    rows = [(f"{source}{part} {name}, row {i}", row) for part, table in tables.items() for i, row in enumerate(table)]
    return f"{source} {name}", _digest(row for _, row in rows), rows


def _digest(rows: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()
