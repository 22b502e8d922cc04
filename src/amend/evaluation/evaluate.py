"""Evaluate a model once: play the dialogue over fixed problems, grade every reply, and keep all of them in a table.

The table has one row for each (phase, decoding, problem, sample, turn). Every metric is computed from it later, with
its interval. Greedy evaluation is that of the papers (SCoRe, section 6); sampled evaluation uses a temperature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from amend.distributed import collectives
from amend.results.metrics.episode_table import COLUMNS
from amend.task.base import Task
from amend.types import Episode, Problem, Reranker, SamplingParams

Attempt = Callable[[Sequence[Problem], int, Sequence[SamplingParams], tuple[int, ...]], list[Episode]]
"""Answers problems: problems, samples per problem, sampling parameters per turn and seed -> episodes."""
UNSETTLED = ("timeout", "untested")  # reasons of verdicts that the grader caused, at least in part
EVALUATION_SEED = 7_000_003  # the same in every run, so that comparisons of runs stay paired


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
    """Evaluate a model on problems.

    Args:
        attempt: Answers problems with the model.
        attempts: The turns that are attempts at the problem; the table has these alone, counted from 1.
        task: Grades the replies.
        problems: The problems.
        phase: "base", "trained" or "student".
        decoding: The name of the decoding.
        samples: The number of episodes of each problem.
        sampling_params: How to sample, for each turn.
        rank: The reranker, which adds the column ``score``, or None.

    Returns:
        The columns of the episode table.
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
    """Grade episodes and return them as columns of the episode table; see ``evaluate`` for the parameters."""
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
        scores = collectives.map_sharded(episodes, lambda shard: list(rank(shard)))
        index_of = {id(e): i for i, e in enumerate(episodes)}
        columns["score"] = [float(scores[index_of[id(e)]][k]) for e, _, k in turns]
    return columns


def unsettled(columns: dict[str, list[Any]]) -> str:
    """Describe how many replies count as wrong although the grader did not find them wrong, or return ""."""
    reasons = Counter(reason for reason in columns["why"] if reason in UNSETTLED)
    if not reasons:
        return ""
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    total = len(columns["why"])
    return f"{reasons.total()} of {total} replies count as wrong, but the grader did not find them wrong: {counts}"
