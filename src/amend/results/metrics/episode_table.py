"""Define the columns of the episode table, and convert its rows to arrays of shape [p n k].

The table has one row per (phase, decoding, problem, sample, turn). The axes of the arrays are

    p    problems, in the order of their first row
    n    samples of each problem
    k    turns, counted from 0 in arrays

Evaluation writes the table once, and every metric is computed from these arrays. If an episode has fewer turns than the
longest one, its last attempt is repeated at every later turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

Columns = Mapping[str, Sequence[Any] | np.ndarray]

COLUMNS: Mapping[str, type] = {
    "phase": str,  # base, trained, student or generated (the replies on which a student is trained)
    "decoding": str,  # greedy, sampled, wide or fixed
    "problem": str,  # the id of the problem
    "sample": int,  # from 0
    "turn": int,  # the attempt, from 1
    "question": str,
    "gold": str,  # the target
    "level": int,  # 0 if the task has no levels
    "subject": str,
    "text": str,  # the reply
    "answer": str,  # the answer that the grader extracted from the reply, or null
    "correct": bool,
    "why": str,  # the grader's reason
    "tokens": int,  # number of tokens of the reply, including the end token
    "logp": float,  # log-probability of the reply, in nats
    "stop": str,  # end or length
}
"""The columns of the episode table with their types. Every column but ``answer`` has a value in every row."""
OPTIONAL_COLUMNS: Mapping[str, type] = {"score": float}
"""Columns that only some tables have: ``score``, the probability of ``eval.reranker`` that the reply is correct."""


@dataclass(frozen=True)
class EpisodeTable:
    """The episodes of one (phase, decoding) as arrays over p problems, n samples and k turns."""

    problem: Shaped[np.ndarray, " p"]
    """The id of each problem."""
    subject: Shaped[np.ndarray, " p"]
    """The subject of each problem."""
    level: Int[np.ndarray, " p"]
    """The level of each problem; 0 if the task has no levels."""
    correct: Bool[np.ndarray, "p n k"]
    """Whether each reply is correct."""
    answer: Shaped[np.ndarray, "p n k"]
    """The answer that the grader extracted from each reply, a str; None if there is no answer."""
    text: Shaped[np.ndarray, "p n k"]
    """The replies."""
    tokens: Int[np.ndarray, "p n k"]
    """The number of tokens of each reply, including the end token."""
    truncated: Bool[np.ndarray, "p n k"]
    """Whether each reply was cut at the length limit."""
    logp: Float[np.ndarray, "p n k"]
    """The log-probability of each reply, in nats; nan if the table has no such column."""
    score: Float[np.ndarray, "p n k"]
    """The probability of ``eval.reranker`` that each reply is correct; nan if the table has no such column."""
    row: Int[np.ndarray, "p n k"]
    """The row of the episode table that each entry comes from."""

    @property
    def turns(self) -> int:
        """Return the number of turns of the longest episode; 0 in an empty table."""
        return int(self.correct.shape[2])

    def __len__(self) -> int:
        """Return the number of problems."""
        return int(self.problem.shape[0])


def select(columns: Columns, phase: str, decoding: str) -> EpisodeTable:
    """Select the episodes of one phase and decoding.

    Args:
        columns: The columns of the episode table, by name.
        phase: ``base``, ``trained``, ``student`` or ``generated``.
        decoding: ``greedy``, ``sampled``, ``wide`` or ``fixed``.

    Returns:
        The episodes as arrays; an empty table if there is no such row.

    Raises:
        ValueError: If problems have different numbers of samples, an episode lacks a turn, or an attempt has two rows.
    """
    chosen = [
        i for i, key in enumerate(zip(columns["phase"], columns["decoding"], strict=True)) if key == (phase, decoding)
    ]
    row = _index_rows(columns, chosen)
    first = row[:, 0, 0] if row.size else np.zeros(0, dtype=int)

    def column(name: str, dtype: type) -> np.ndarray:
        """Return a column as an array, with one extra entry so that an empty table can be indexed."""
        values: np.ndarray = np.empty(len(columns["phase"]) + 1, dtype=dtype)
        values[:-1] = np.array(columns[name], dtype=dtype) if name in columns else np.nan
        return values

    return EpisodeTable(
        problem=column("problem", object)[first],
        subject=column("subject", object)[first],
        level=column("level", int)[first],
        correct=column("correct", bool)[row],
        answer=column("answer", object)[row],
        text=column("text", object)[row],
        tokens=column("tokens", int)[row],
        truncated=(column("stop", object) == "length")[row],
        logp=column("logp", float)[row],
        score=column("score", float)[row],
        row=row,
    )


def _index_rows(columns: Columns, chosen: Sequence[int]) -> Int[np.ndarray, "p n k"]:
    """Return the row number of every (problem, sample, turn)."""
    rows: dict[Any, dict[int, dict[int, int]]] = {}
    for i in chosen:
        problem, sample, turn = columns["problem"][i], int(columns["sample"][i]), int(columns["turn"][i])
        turns = rows.setdefault(problem, {}).setdefault(sample, {})
        if turns.setdefault(turn, i) != i:
            raise ValueError(f"problem {problem!r}, sample {sample}, turn {turn}: two rows of one attempt")
    n = max((len(samples) for samples in rows.values()), default=0)
    k = max((turn for samples in rows.values() for turns in samples.values() for turn in turns), default=0)
    index = np.zeros((len(rows), n, k), dtype=int)
    for p, (problem, samples) in enumerate(rows.items()):
        if len(samples) != n:
            raise ValueError(f"problem {problem!r} has {len(samples)} samples, other problems have {n}")
        for s, sample in enumerate(sorted(samples)):
            turns = samples[sample]
            if sorted(turns) != list(range(1, len(turns) + 1)):
                raise ValueError(f"problem {problem!r}, sample {sample}: turns {sorted(turns)} instead of 1, 2, ...")
            index[p, s] = [turns[min(turn, len(turns))] for turn in range(1, k + 1)]
    return index
