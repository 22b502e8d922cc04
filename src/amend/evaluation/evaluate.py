"""Measure once, compute many times: one evaluation plays the dialogue over fixed problems and writes every reply down.

The result is a table with one row a (phase, decoding, problem, sample, turn); every metric is computed from it later,
with its interval, and never from a model. Greedy evaluation is the papers' (SCoRe, section 6); sampled evaluation at a
temperature stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from amend.distributed import collectives
from amend.results.metrics.episode_table import COLUMNS
from amend.task.base import Task
from amend.types import Episode, Problem, Reranker, SamplingParams

Attempt = Callable[
    [Sequence[Problem], int, Sequence[SamplingParams], tuple[int, ...]], list[Episode]
]  # how one answers
UNSETTLED = ("timeout", "untested")  # reasons that tell of the check as much as of the reply
EVALUATION_SEED = 7_000_003  # one evaluation draws the same uniforms in every run: paired comparisons stay paired


def evaluate(
    attempt: Attempt,
    attempts: Sequence[int],
    task: Task,
    problems: Sequence[Problem],
    phase: str,
    decoding: Literal["greedy", "sampled", "wide", "fixed"],
    samples: int,
    sampling_params: Sequence[SamplingParams],
    rank: Reranker | None = None,
) -> dict[str, list[Any]]:
    """The table, as columns, of ``samples`` episodes of each problem, a turn for each entry of ``sampling_params``.

    ``attempts`` says which turns are attempts (``Play.attempts``); the table has those alone, counted from 1.
    With ``rank`` there is one column more, ``score``.
    """
    episodes = attempt(problems, samples, sampling_params, (EVALUATION_SEED,))
    return table(episodes, attempts, task, phase, decoding, rank)


def table(
    episodes: Sequence[Episode],
    attempts: Sequence[int],
    task: Task,
    phase: str,
    decoding: str,
    rank: Reranker | None = None,
) -> dict[str, list[Any]]:
    """Episodes, checked, as columns of the table (``COLUMNS``)."""
    turns = [(e, number, k) for e in episodes for number, k in enumerate(attempts) if k < len(e.turns)]
    verdicts = collectives.map_sharded([(e.problem, e.turns[k].reply.text) for e, _, k in turns], task.grade_many)
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for (e, number, k), verdict in zip(turns, verdicts, strict=True):
        reply, meta = e.turns[k].reply, e.problem.meta
        row = (
            phase, decoding, e.problem.id, e.sample, number + 1, e.problem.question, e.problem.target,
            int(meta.get("level", 0)), str(meta.get("subject", "")),
            reply.text, verdict.answer, verdict.correct, verdict.reason, len(reply.tokens), sum(reply.logp), reply.stop,
        )  # fmt: skip
        for name, value in zip(COLUMNS, row, strict=True):
            columns[name].append(value)
    if rank is not None:
        ranked = collectives.map_sharded(episodes, lambda some: list(rank(some)))
        place = {id(e): i for i, e in enumerate(episodes)}
        columns["score"] = [float(ranked[place[id(e)]][k]) for e, _, k in turns]
    return columns


def unsettled(columns: dict[str, list[Any]]) -> str:
    """Of the replies of a table, how many count as wrong without having been found wrong, by reason; "" where none."""
    whys = Counter(why for why in columns["why"] if why in UNSETTLED)
    if not whys:
        return ""
    counts = ", ".join(f"{why} {count}" for why, count in whys.most_common())
    return f"{whys.total()} of {len(columns['why'])} replies count as wrong without having been found wrong: {counts}"
