"""Choose three episodes to print: one that the second attempt corrected, one that it broke, and one that it kept.

A fixed rule chooses, so that the same table always gives the same three: greedy episodes of the trained model (of the
base model if there is no trained one), complete replies before truncated ones, then the most common length of the
class, then the problem's id.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amend.results.metrics.episode_table import Columns, EpisodeTable, select
from amend.results.metrics.self_correction import CLASSES, classes

WANTED = {"i→c": "corrected", "c→i": "broken", "c→c": "kept"}
"""The classes that are shown, and what happened in each."""


@dataclass(frozen=True)
class Attempt:
    """A reply and its verdict."""

    text: str
    answer: str | None
    correct: bool
    reason: str


@dataclass(frozen=True)
class Transcript:
    """One episode, to be read. ``kind`` is its class ("i→c") or, with one turn, "right" or "wrong"."""

    kind: str
    phase: str
    decoding: str
    problem: str
    question: str
    gold: str
    attempts: tuple[Attempt, ...]


def choose(columns: Columns) -> dict[str, Transcript | None]:
    """Return one transcript for each kind, or None if no episode is of the kind; {} for an empty table.

    The kinds are those of ``WANTED``; for a table with one turn they are "right" and "wrong".
    """
    for phase, decoding in (("trained", "greedy"), ("trained", "sampled"), ("base", "greedy"), ("base", "sampled")):
        table = select(columns, phase, decoding)
        if len(table):
            return {
                kind: _one(columns, table, kind, phase, decoding, member) for kind, member in _members(table).items()
            }
    return {}


def _members(table: EpisodeTable) -> dict[str, np.ndarray]:
    """Which (problem, sample) is of which kind."""
    if table.turns == 1:
        return {"right": table.correct[:, :, 0], "wrong": ~table.correct[:, :, 0]}
    group = classes(table.correct[:, :, 0], table.correct[:, :, 1])
    return {kind: group == CLASSES.index(kind) for kind in WANTED}


def _one(
    columns: Columns, table: EpisodeTable, kind: str, phase: str, decoding: str, member: np.ndarray
) -> Transcript | None:
    places = np.argwhere(member).tolist()
    if not places:
        return None
    length = np.vectorize(len, otypes=[int])(table.text).sum(axis=2)
    usual = float(np.median(length[member]))
    problem, sample = min(
        places,
        key=lambda at: (
            bool(table.truncated[at[0], at[1]].any()), abs(length[at[0], at[1]] - usual), table.problem[at[0]], at[1]
        ),
    )  # fmt: skip
    rows = [int(row) for row in table.row[problem, sample]]
    attempts = tuple(
        Attempt(columns["text"][i], columns["answer"][i], bool(columns["correct"][i]), columns["why"][i]) for i in rows
    )
    first = rows[0]
    return Transcript(
        kind, phase, decoding, str(table.problem[problem]), columns["question"][first], columns["gold"][first], attempts
    )
