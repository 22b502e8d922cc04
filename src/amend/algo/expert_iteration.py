"""Expert iteration (Havrilla et al. 2024, arXiv 2403.04642): sample, keep what is right, imitate it, repeat.

    D_i = D_(i-1) + {(x, y) : y ~ pi_(i-1)(. | x), r(x, y) = 1},  duplicates dropped
    pi_i = argmin - E_(D_i) log pi(y | x),  from the base model each time

K is ``samples``; the paper compares 4 and 96. iterations=1 is rejection-sampling fine-tuning; union=false with
cap=10 is ReST-EM (Singh et al. 2023, arXiv 2312.06585).
"""

from __future__ import annotations

from typing import Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one
from amend.types import Scored
from amend.value_types import Count


class ExpertIteration(Imitation):
    """cap: right solutions of one problem that are kept at most, the earliest first; with ``union`` that is over all
    iterations, so a problem that is full keeps what the first ones found."""

    def __init__(
        self, context: AlgorithmContext, *, max_per_problem: Count, **imitation: Unpack[ImitationConfig]
    ) -> None:
        super().__init__(context, **imitation)
        self.max_per_problem = max_per_problem

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Episodes that ended right."""
        return [at_temperature_one(one) for one in scored if one.correct[-1]]

    def kept_of(self, traces: list[Scored]) -> list[Scored]:
        """Each solution once, and at most ``cap`` of a problem."""
        seen: set[tuple[str, tuple[tuple[int, ...], ...]]] = set()
        counts: dict[str, int] = {}
        kept = []
        for trace in traces:
            name = trace.episode.problem.id
            said = (name, tuple(turn.reply.tokens for turn in trace.episode.turns))
            if said not in seen and counts.get(name, 0) < self.max_per_problem:
                seen.add(said)
                counts[name] = counts.get(name, 0) + 1
                kept.append(trace)
        return kept
