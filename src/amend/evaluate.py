"""Measure once, compute many times: one evaluation plays the dialogue over fixed problems and writes every reply down.

The result is a table with one row a (phase, decoding, problem, sample, turn); every metric is computed from it later,
with its interval, and never from a model. Greedy evaluation is the papers' (SCoRe, section 6); sampled evaluation at a
temperature stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from amend.rollout.play import Play
from amend.task.base import Task
from amend.types import Episode, Problem, Sampling

COLUMNS = (
    "phase", "decoding", "problem", "sample", "turn", "question", "gold", "level", "subject",
    "text", "answer", "correct", "why", "tokens", "logp", "stop",
)  # fmt: skip
EVALUATION_SEED = 7_000_003  # one evaluation draws the same uniforms in every run: paired comparisons stay paired


def evaluate(
    play: Play,
    task: Task,
    problems: Sequence[Problem],
    phase: str,
    decoding: Literal["greedy", "sampled"],
    samples: int,
    temperature: float,
    max_tokens: int,
) -> dict[str, list[Any]]:
    """The table, as columns, of ``samples`` whole episodes of each problem (one, at temperature 0, for greedy)."""
    greedy = decoding == "greedy"
    how = Sampling(temperature=0.0 if greedy else temperature, max_tokens=max_tokens)
    episodes = play(problems, 1 if greedy else samples, play.turns, how, (EVALUATION_SEED,))
    play.sync()
    return table(episodes, task, phase, decoding)


def table(episodes: Sequence[Episode], task: Task, phase: str, decoding: str) -> dict[str, list[Any]]:
    """Episodes, checked, as columns of the table (``COLUMNS``); turns count from 1."""
    turns = [(e, k) for e in episodes for k in range(len(e.turns))]
    verdicts = task.check_many([(e.problem, e.turns[k].reply.text) for e, k in turns])
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for (e, k), verdict in zip(turns, verdicts, strict=True):
        reply, meta = e.turns[k].reply, e.problem.meta
        row = (
            phase, decoding, e.problem.id, e.sample, k + 1, e.problem.question, e.problem.answer,
            int(meta.get("level", 0)), str(meta.get("subject", "")),
            reply.text, verdict.answer, verdict.correct, verdict.why, len(reply.tokens), sum(reply.logp), reply.stop,
        )  # fmt: skip
        for name, value in zip(COLUMNS, row, strict=True):
            columns[name].append(value)
    return columns
