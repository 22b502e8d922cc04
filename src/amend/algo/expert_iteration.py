"""Train with expert iteration: sample, imitate the right solutions, repeat (Havrilla et al. 2024, arXiv 2403.04642).

    D_i = D_(i-1) + {(x, y) : y ~ pi_(i-1)(. | x), r(x, y) = 1},  without duplicates
    pi_i = argmin - E_(D_i) log pi(y | x),  from the base model each time

The paper's number K of samples per problem is ``group_size``; the paper compares 4 and 96. ``iterations=1`` is
rejection-sampling fine-tuning. ``accumulate_data=false`` with ``max_per_problem=10`` is ReST-EM (Singh et al. 2023,
arXiv 2312.06585).
"""

from __future__ import annotations

from typing import Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one
from amend.types import Scored
from amend.value_types import Count


class ExpertIteration(Imitation):
    """An imitation algorithm that fits the model to right solutions.

    Args:
        context: The context of the run.
        max_per_problem: The maximum number of solutions of one problem; the earliest solutions are kept. With
            ``accumulate_data``, this limit is for the whole run, and without it for each fit.
        **imitation: The keys of ``ImitationConfig``.
    """

    def __init__(
        self, context: AlgorithmContext, *, max_per_problem: Count, **imitation: Unpack[ImitationConfig]
    ) -> None:
        super().__init__(context, **imitation)
        self.max_per_problem = max_per_problem

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Select the episodes whose last reply is right."""
        return [at_temperature_one(trace) for trace in scored if trace.correct[-1]]

    def kept_of(self, traces: list[Scored]) -> list[Scored]:
        """Drop duplicates, and keep at most ``max_per_problem`` traces of each problem."""
        seen: set[tuple[str, tuple[tuple[int, ...], ...]]] = set()
        counts: dict[str, int] = {}
        selected = []
        for trace in traces:
            name = trace.episode.problem.id
            solution = (name, tuple(turn.reply.tokens for turn in trace.episode.turns))
            if solution not in seen and counts.get(name, 0) < self.max_per_problem:
                seen.add(solution)
                counts[name] = counts.get(name, 0) + 1
                selected.append(trace)
        return selected
