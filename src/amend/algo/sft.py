"""Train with supervised fine-tuning on the solutions of the data set: the baseline of reinforcement learning.

    max  E_(x, y*) log pi(y* | x)

y* is the solution of problem x. SFT samples no tokens, so a budget of sampled tokens never ends it. More passes over
the solutions raise the accuracy and lower the diversity of samples (Cobbe et al. 2021, arXiv 2110.14168; Havrilla et
al. 2024, arXiv 2403.04642).
"""

from __future__ import annotations

from collections.abc import Sequence

from amend.algo.imitation import Imitation
from amend.errors import UserError
from amend.types import Episode, Problem, Scored


class SFT(Imitation):
    """An imitation algorithm that fits the model to given solutions.

    Each iteration adds ``groups_per_batch`` solutions. A fit makes ``update_epochs`` passes over all of them.
    """

    samples_from_policy = False  # it trains on given solutions
    fixed = {"group_size": 1, "turns": 1}  # noqa: RUF012 - config.schema reads this from the source; nothing changes it

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """Return the solution of each problem as an episode."""
        return [self.runner.build_episode(p, [(self.runner.reply(_get_solution(p)), True)]) for p in problems]

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Select all solutions."""
        return scored


def _get_solution(problem: Problem) -> str:
    """Return the solution of a problem; raise a ``UserError`` if it has none."""
    solution = str(problem.meta.get("solution", ""))
    if not solution:
        raise UserError(f"algo=sft: problem {problem.id} has no solution; allowed: a task whose problems have one")
    return solution
