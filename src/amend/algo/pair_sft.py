"""Pair-SFT, the other baseline of SCoRe (arXiv 2409.12917, section 4; after Welleck et al. 2022, arXiv 2211.00053).

    D   = {(x, y-, y+)}            a random wrong attempt with a random right attempt at the same problem
    D+  = D + {(x, y+, y+')}       ``keep_correct``: and a right one with another right one
    max  E_D log pi(y+ | x, y-),   one model, one iteration, from the base model

Both are samples of the base model's first turn. The pairs look like corrections, but the first attempts of the model
that learns from them are no longer theirs: the distribution shift that the paper finds.
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
    """keep_correct: D+; pairs: at most so many of each kind a problem."""

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
        """The pairs, as two-turn traces whose second turn is learnt."""
        draw = seeded_generator(self.seed, self.iteration)
        kept = []
        for some in group_by_problem(scored).values():
            right = [one for one in some if one.correct[0]]
            wrong = [one for one in some if not one.correct[0]]
            kept += self.paired(wrong, right, draw)
            if self.keep_correct and len(right) > 1:
                kept += self.paired(right[::2], right[1::2], draw)
        return [at_temperature_one(one) for one in kept]

    def paired(self, first: list[Scored], second: list[Scored], draw: torch.Generator) -> list[Scored]:
        """Random members of ``first``, each with a random member of ``second``; none is used twice."""
        count = min(self.pairs, len(first), len(second))
        ones = torch.randperm(len(first), generator=draw)[:count].tolist()
        others = torch.randperm(len(second), generator=draw)[:count].tolist()
        made = []
        for i, j in zip(ones, others, strict=True):
            replies = [(first[i].episode.turns[0].reply, False), (second[j].episode.turns[0].reply, True)]
            made.append(
                Scored(
                    self.runner.build_episode(first[i].episode.problem, replies),
                    (first[i].reward[0], second[j].reward[0]),
                    {},
                )
            )
        return made
