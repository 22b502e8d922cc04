"""Base class of tasks whose problems are rows of a table.

A source is one of:

    file      one JSON Lines file; a fixed random choice of ``test`` rows is the test split
    folder    <train>.jsonl and <test>.jsonl
    hub id    owner/name, with the splits and the configuration to use

A subclass converts a row to a problem, writes the prompt and grades replies. The splits have no question in common: a
training row with the question of a test row is left out, and ``provenance`` counts such rows. The validation split is a
fixed random choice of training rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict, Unpack

import numpy as np

from amend.errors import UserError
from amend.task.base import TaskBase
from amend.task.dataset.jsonl import Row, at, shown
from amend.task.dataset.sources import Table, first_file, from_file, from_hub, is_local
from amend.task.dataset.splits import SPLITS, Split
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Natural

SEED = 8792  # decides which rows are held out; a constant, because it is part of the definition of the splits


class Layout(NamedTuple):
    """The names of the tables of a task, on the hub and in a folder.

    Attributes:
        configuration: Configuration of the hub data set; None if it has none.
        splits: Hub splits for (training, test). If both are equal, that table is divided.
        files: Candidate file names for (training, test). The first file that exists is read.
    """

    configuration: str | None
    splits: tuple[str, str]
    files: tuple[tuple[str, ...], tuple[str, ...]]

    @classmethod
    def of(cls, configuration: str | None, train: str, test: str) -> Layout:
        """Return a layout whose files are named after the splits.

        Args:
            configuration: Configuration of the hub data set; None if it has none.
            train: Name of the training split.
            test: Name of the test split.

        Returns:
            The layout, with the files ``<train>.jsonl`` and ``<test>.jsonl``.
        """
        return cls(configuration, (train, test), ((f"{train}.jsonl",), (f"{test}.jsonl",)))

    def __str__(self) -> str:
        """Return the required files of a folder, for error messages."""
        return " and ".join(dict.fromkeys(names[0] for names in self.files))


class TableConfig(TypedDict):
    """Keys of every task that is a table of rows."""

    source: str
    """A file, a folder or a hub id."""
    validation: Natural
    """Number of validation problems, taken from the training rows."""
    test: Count
    """Largest number of test problems."""


class Tabular(TaskBase, ABC):
    """A task with three splits from a table. ``provenance`` has source, SHA-256 and row count of each table.

    Args:
        layout: Names of the tables.
        **table: Source and sizes, see ``TableConfig``.

    Raises:
        UserError: If the source cannot be read, a row is invalid, or a split would be empty. The message names file,
            line and field.
    """

    prefix = "row"
    """First part of the id of each problem."""

    def __init__(self, layout: Layout, **table: Unpack[TableConfig]) -> None:
        source, validation, test = table["source"], table["validation"], table["test"]
        tables = _tables(source, layout)
        provenance = {name: table.provenance for name, table in tables.items()}
        self.provenance = provenance
        read = {name: self._read(name, table) for name, table in tables.items()}
        if "all" in read:
            order = _order(len(read["all"]), "test")
            test_questions = {read["all"][i].question for i in order[:test]}
            read = {
                "train": [p for p in read["all"] if p.question not in test_questions],
                "test": [p for p in read["all"] if p.question in test_questions][:test],
            }
        test_questions = {problem.question for problem in read["test"]}
        train = [problem for problem in read["train"] if problem.question not in test_questions]
        if len(train) < len(read["train"]):
            provenance["train"]["also in test"] = len(read["train"]) - len(train)
        held = [train[i] for i in _order(len(train), "val")[:validation]]
        held_questions = {problem.question for problem in held}
        rest = [problem for problem in train if problem.question not in held_questions]
        if not rest or not read["test"] or len(held) < validation:
            raise UserError(
                f"task.validation={validation}, task.test={test}: {source} has {len(train)} training and "
                f"{len(read['test'])} test problems; at least one of each must remain"
            )
        chosen = [read["test"][i] for i in sorted(_order(len(read["test"]), "test")[:test])]
        self._splits: dict[str, list[Problem]] = {"train": rest, "val": held, "test": chosen}
        self._by_id = {problem.id: problem for name in read for problem in read[name]}

    @abstractmethod
    def problem(self, identity: str, row: Row) -> Problem:
        """Return the problem of a row.

        Args:
            identity: Id of the problem.
            row: A row of the table, or a line of the output of job=grade. Such a line has the gold answer in ``gold``,
                because its ``answer`` is the answer of the reply.

        Returns:
            The problem. ``meta`` has at least ``level``, ``subject`` and ``solution``.

        Raises:
            UserError: If a field is missing or invalid. The message names the field.
        """

    @abstractmethod
    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the conversation that poses a problem.

        Args:
            problem: A problem of this task.

        Returns:
            The messages before the first reply.
        """

    @abstractmethod
    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies.

        Args:
            pairs: Problems with the replies to grade. Any string is a valid reply.

        Returns:
            One verdict per pair, in order.
        """

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split, in the order of the rows; "val" is in random but fixed order."""
        return self._splits[split]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that ``id`` names, else the problem of the row's own fields."""
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
    """Return a fixed random permutation of the numbers below ``count``."""
    rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index(split)]))
    return [int(i) for i in rng.permutation(count)]


def _tables(source: str, layout: Layout) -> dict[str, Table]:
    """Read the tables "train" and "test", or only "all" if one table is to be divided."""
    names = ("train", "test") if layout.splits[0] != layout.splits[1] else ("all",)
    if not is_local(source, keywords=(), layout=str(layout)):
        splits = zip(names, layout.splits, strict=False)
        return {name: from_hub(source, split, layout.configuration, layout=str(layout)) for name, split in splits}
    path = Path(source).expanduser()
    if path.is_file():
        return {"all": from_file(path)}
    files = zip(names, layout.files, strict=False)
    return {name: from_file(first_file(path, candidates, name)) for name, candidates in files}
