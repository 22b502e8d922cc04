"""Train with Pair-SFT, a baseline of SCoRe (arXiv 2409.12917, section 4; Welleck et al. 2022, arXiv 2211.00053).

    D   = {(x, y-, y+)}            a random wrong and a random right attempt at the same problem
    D+  = D + {(x, y+, y+')}       ``keep_correct``: also pairs of two right attempts
    max  E_D log pi(y+ | x, y-),   one model, one iteration, from the base model

Both attempts are first attempts of the base model. The pairs look like corrections. However, the trained model makes
other first attempts than the pairs contain; the paper calls this a distribution shift.
"""

from __future__ import annotations

from typing import Unpack

import torch

from amend.algo.context import AlgorithmContext
from amend.algo.gradient_update import seeded_generator
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one, group_by_problem
from amend.types import Scored
from amend.value_types import Count


class PairSFT(Imitation):
    """Imitation of corrections that are built from pairs of first attempts.

    Args:
        context: The context of the run.
        keep_correct: Whether to imitate D+ and not D.
        pairs: The largest number of pairs of each kind per problem.
        **imitation: The keys of ``ImitationConfig``.
    """

    fixed = {"turns": 1}  # noqa: RUF012
    compares_group = True  # it pairs episodes of one problem
    min_dialogue_turns = 2
    moves_replies = True  # a reply becomes a second attempt

    def __init__(
        self, context: AlgorithmContext, *, keep_correct: bool, pairs: Count, **imitation: Unpack[ImitationConfig]
    ) -> None:
        super().__init__(context, **imitation)
        self.keep_correct, self.pairs = keep_correct, pairs

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Build pairs, as two-turn traces whose second turn is trained."""
        generator = seeded_generator(self.seed, self.iteration)
        traces = []
        for group in group_by_problem(scored).values():
            right = [s for s in group if s.correct[0]]
            wrong = [s for s in group if not s.correct[0]]
            traces += self.paired(wrong, right, generator)
            if self.keep_correct and len(right) > 1:
                traces += self.paired(right[::2], right[1::2], generator)
        return [at_temperature_one(trace) for trace in traces]

    def paired(self, first: list[Scored], second: list[Scored], draw: torch.Generator) -> list[Scored]:
        """Pair random episodes; no episode is in two pairs.

        Args:
            first: The episodes whose first replies become first attempts.
            second: The episodes whose first replies become second attempts, at the same problem.
            draw: The random generator.

        Returns:
            At most ``pairs`` two-turn traces, in which only the second turn is trained.
        """
        count = min(self.pairs, len(first), len(second))
        first_indices = torch.randperm(len(first), generator=draw)[:count].tolist()
        second_indices = torch.randperm(len(second), generator=draw)[:count].tolist()
        traces = []
        for i, j in zip(first_indices, second_indices, strict=True):
            replies = [(first[i].episode.turns[0].reply, False), (second[j].episode.turns[0].reply, True)]
            traces.append(
                Scored(
                    self.runner.build_episode(first[i].episode.problem, replies),
                    (first[i].reward[0], second[j].reward[0]),
                    {},
                )
            )
        return traces
