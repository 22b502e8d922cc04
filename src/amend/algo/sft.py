"""Supervised fine-tuning on the solutions that come with the problems: what reinforcement learning is held against.

    max  E_(x, y*) log pi(y* | x)

Nothing is sampled, so on an axis of sampled tokens it stands at zero. More epochs raise accuracy and lower the variety
of what is sampled (Cobbe et al. 2021, arXiv 2110.14168; Havrilla et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

from amend.algo.imitation import Imitation
from amend.errors import UserError
from amend.types import Episode, Problem, Scored


class SFT(Imitation):
    """``problems`` solutions a round, ``epochs`` passes over all of them at the end."""

    samples_from_policy = False  # it trains on given solutions
    fixed = {"group_size": 1, "turns": 1}  # noqa: RUF012 - read from the source, never changed

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """Each problem's own solution, as if it had been said."""
        return [self.runner.build_episode(p, [(self.runner.reply(_solution(p)), True)]) for p in problems]

    def select(self, scored: list[Scored]) -> list[Scored]:
        """All of them."""
        return scored


def _solution(problem: Problem) -> str:
    solution = str(problem.meta.get("solution", ""))
    if not solution:
        raise UserError(f"algo=sft: problem {problem.id} has no solution; allowed: a task whose problems have one")
    return solution
