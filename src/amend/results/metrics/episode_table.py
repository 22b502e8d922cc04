"""From rows to arrays: the table of episodes, one row a (phase, decoding, problem, sample, turn), as [p n k] arrays.

    p problems, in the order of their first row     n samples of each     k turns, counted from 0 in arrays

Evaluation writes the table once; every metric is a few lines over these arrays. An episode whose dialogue ended before
the longest one did stands by its last attempt: what it said last is its answer at every later turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

Columns = Mapping[str, Sequence[Any] | np.ndarray]

COLUMNS: Mapping[str, type] = {
    "phase": str,  # base, trained or student
    "decoding": str,  # greedy, sampled, wide or fixed
    "problem": str,  # the id of the problem
    "sample": int,  # from 0
    "turn": int,  # the attempt, from 1
    "question": str,
    "gold": str,  # the target
    "level": int,  # 0 if the task has no levels
    "subject": str,
    "text": str,  # the reply
    "answer": str,  # the answer that the grader found in it, or null
    "correct": bool,
    "why": str,  # the grader's reason
    "tokens": int,  # with the end token
    "logp": float,  # log-probability of the reply, in nats
    "stop": str,  # end or length
}
"""The columns of the episode table with their types. Every column but ``answer`` has a value in every row."""
OPTIONAL_COLUMNS: Mapping[str, type] = {"score": float}
"""Columns that only some tables have: ``score``, the probability of ``eval.reranker`` that the reply is right."""


@dataclass(frozen=True)
class EpisodeTable:
    """One (phase, decoding) of a table of episodes. ``answer`` holds str or None (nothing could be read)."""

    problem: Shaped[np.ndarray, " p"]
    subject: Shaped[np.ndarray, " p"]
    level: Int[np.ndarray, " p"]
    correct: Bool[np.ndarray, "p n k"]
    answer: Shaped[np.ndarray, "p n k"]
    text: Shaped[np.ndarray, "p n k"]
    tokens: Int[np.ndarray, "p n k"]
    truncated: Bool[np.ndarray, "p n k"]
    logp: Float[np.ndarray, "p n k"]
    """Natural log-probability of the whole reply; nan where the table has no such column."""
    score: Float[np.ndarray, "p n k"]
    """What ``eval.reranker`` thinks of the reply, the chance that it is right; nan where nothing ranked it."""
    row: Int[np.ndarray, "p n k"]
    """Which row of the columns each entry came from."""

    @property
    def turns(self) -> int:
        """How many turns the longest episode has; 0 in an empty table."""
        return int(self.correct.shape[2])

    def __len__(self) -> int:
        """How many problems."""
        return int(self.problem.shape[0])


def select(columns: Columns, phase: str, decoding: str) -> EpisodeTable:
    """The rows of ``phase`` ("base", "trained") and ``decoding`` ("greedy", "sampled") as arrays; empty if none.

    Raises ValueError where a problem has fewer samples than another, or a (problem, sample, turn) stands there twice.
    """
    chosen = [
        i for i, key in enumerate(zip(columns["phase"], columns["decoding"], strict=True)) if key == (phase, decoding)
    ]
    row = _places(columns, chosen)
    first = row[:, 0, 0] if row.size else np.zeros(0, dtype=int)

    def column(name: str, dtype: type) -> np.ndarray:
        """A column as an array that can be indexed by rows; one spare entry keeps empty tables indexable."""
        made: np.ndarray = np.empty(len(columns["phase"]) + 1, dtype=dtype)
        made[:-1] = np.array(columns[name], dtype=dtype) if name in columns else np.nan
        return made

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


def _places(columns: Columns, chosen: Sequence[int]) -> Int[np.ndarray, "p n k"]:
    """The row number of every (problem, sample, turn)."""
    rows: dict[Any, dict[int, dict[int, int]]] = {}
    for i in chosen:
        problem, sample, turn = columns["problem"][i], int(columns["sample"][i]), int(columns["turn"][i])
        turns = rows.setdefault(problem, {}).setdefault(sample, {})
        if turns.setdefault(turn, i) != i:
            raise ValueError(f"problem {problem!r}, sample {sample}, turn {turn}: two rows of one attempt")
    n = max((len(samples) for samples in rows.values()), default=0)
    k = max((turn for samples in rows.values() for turns in samples.values() for turn in turns), default=0)
    places = np.zeros((len(rows), n, k), dtype=int)
    for p, (problem, samples) in enumerate(rows.items()):
        if len(samples) != n:
            raise ValueError(f"problem {problem!r} has {len(samples)} samples where others have {n}")
        for s, sample in enumerate(sorted(samples)):
            turns = samples[sample]
            if sorted(turns) != list(range(1, len(turns) + 1)):
                raise ValueError(f"problem {problem!r}, sample {sample}: turns {sorted(turns)} instead of 1, 2, ...")
            places[p, s] = [turns[min(turn, len(turns))] for turn in range(1, k + 1)]
    return places
