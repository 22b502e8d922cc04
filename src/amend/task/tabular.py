"""Tasks whose problems are rows of a table: what is read, how it is split, and how a line of a file finds its problem.

    file      one JSON Lines file, divided: ``test`` rows drawn once and for all, the others training
    folder    <train>.jsonl and <test>.jsonl
    hub id    owner/name, and which of its splits (and configuration) to use

A subclass says what a row means. Splits are disjoint by question: a training row that asks what a test row asks is left
out, and ``provenance`` counts it. Validation problems are held out of the training rows, the same ones every time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

import numpy as np

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, at, shown
from amend.task.dataset.sources import Table, first_file, from_file, from_hub, is_local
from amend.task.dataset.splits import SPLITS, Split
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Natural

SEED = 8792  # of which rows are held out: part of what the splits are, so not a knob


class Layout(NamedTuple):
    """What a task's rows lie in: the hub's configuration and splits, and the files of a folder, the first one found."""

    configuration: str | None
    splits: tuple[str, str]  # training, test; the same one twice: one table, to be divided
    files: tuple[tuple[str, ...], tuple[str, ...]]

    @classmethod
    def of(cls, configuration: str | None, train: str, test: str) -> Layout:
        """Files named after the splits."""
        return cls(configuration, (train, test), ((f"{train}.jsonl",), (f"{test}.jsonl",)))

    def __str__(self) -> str:
        """What a folder must hold, in words."""
        return " and ".join(dict.fromkeys(names[0] for names in self.files))


class TableConfig(TypedDict):
    """Keys of every task that is a table of rows."""

    source: str
    """A file, a folder or a hub id."""
    validation: Natural
    """Number of validation problems, taken from the training rows."""
    test: Count
    """Largest number of test problems."""


class Tabular(ABC):
    """The three splits of a table. ``provenance`` tells, for each table, its source, its SHA-256 and its row count.

    ``validation`` is how many problems are held out of the training rows, ``test`` at most how many test rows are used.
    Raises UserError naming the file, the line and the field where something is missing.
    """

    prefix = "row"  # of problems' ids

    def __init__(self, layout: Layout, **table: Unpack[TableConfig]) -> None:
        source, validation, test = table["source"], table["validation"], table["test"]
        tables = _tables(source, layout)
        self.provenance = {name: table.provenance for name, table in tables.items()}
        read = {name: self._read(name, table) for name, table in tables.items()}
        if "all" in read:
            order = _order(len(read["all"]), "test")
            asked = {read["all"][i].question for i in order[:test]}
            read = {
                "train": [p for p in read["all"] if p.question not in asked],
                "test": [p for p in read["all"] if p.question in asked][:test],
            }
        asked = {problem.question for problem in read["test"]}
        train = [problem for problem in read["train"] if problem.question not in asked]
        if len(train) < len(read["train"]):
            self.provenance["train"]["also in test"] = len(read["train"]) - len(train)
        held = [train[i] for i in _order(len(train), "val")[:validation]]
        held_questions = {problem.question for problem in held}
        rest = [problem for problem in train if problem.question not in held_questions]
        if not rest or not read["test"] or len(held) < validation:
            raise UserError(
                f"task.validation={validation}, task.test={test}: {source} has {len(train)} training and "
                f"{len(read['test'])} test problems; some of each must remain"
            )
        chosen = [read["test"][i] for i in sorted(_order(len(read["test"]), "test")[:test])]
        self._splits: dict[str, list[Problem]] = {"train": rest, "val": held, "test": chosen}
        self._by_id = {problem.id: problem for name in read for problem in read[name]}

    @abstractmethod
    def problem(self, identity: str, row: Row) -> Problem:
        """What a row asks, and what is right. UserError naming the field that is missing or wrong.

        A line that was graded before has the right answer in ``gold``, for its ``answer`` is then the reply's.
        """

    @abstractmethod
    def render_prompt(self, problem: Problem) -> list[Message]:
        """The conversation that poses the problem."""

    @abstractmethod
    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdict on each pair of problem and reply, in order. Total: any string gets one."""

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split, in the order of their rows (validation: in the order they were drawn)."""
        return self._splits[split]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Is the reply right?"""
        return self.grade_many([(problem, reply)])[0]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line: by ``id`` where that is known, else by the data set's own fields."""
        identity = row.get("id")
        known = self._by_id.get(identity) if isinstance(identity, str) else None
        try:
            return known or self.problem(str(identity or ""), row)
        except UserError as error:
            if identity is None:
                raise
            raise UserError(f"field 'id' is {shown(identity)}, which this task does not know, and {error}") from error

    def _read(self, name: str, table: Table) -> list[Problem]:
        problems = []
        for number, (where, row) in enumerate(table.rows, 1):
            with at(where):
                problems.append(self.problem(f"{self.prefix}-{name}-{number}", row))
        return problems


def _order(count: int, split: Split) -> list[int]:
    """Numbers below ``count`` in an order drawn once and for all."""
    rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index(split)]))
    return [int(i) for i in rng.permutation(count)]


def _tables(source: str, layout: Layout) -> dict[str, Table]:
    """``train`` and ``test``, or ``all`` where one table is to be divided."""
    names = ("train", "test") if layout.splits[0] != layout.splits[1] else ("all",)
    if not is_local(source, beside=(), layout=str(layout)):
        asked = zip(names, layout.splits, strict=False)
        return {name: from_hub(source, split, layout.configuration, layout=str(layout)) for name, split in asked}
    path = Path(source).expanduser()
    if path.is_file():
        return {"all": from_file(path)}
    files = zip(names, layout.files, strict=False)
    return {name: from_file(first_file(path, candidates, name)) for name, candidates in files}
