"""Pair-SFT, the other baseline of SCoRe (arXiv 2409.12917, section 4; after Welleck et al. 2022, arXiv 2211.00053).

    D   = {(x, y-, y+)}            a random wrong attempt with a random right attempt at the same problem
    D+  = D + {(x, y+, y+')}       ``keep_correct``: and a right one with another right one
    max  E_D log pi(y+ | x, y-),   one model, one iteration, from the base model

Both are samples of the base model's first turn. The pairs look like corrections, but the first attempts of the model
that learns from them are no longer theirs: the distribution shift that the paper finds.
"""

from __future__ import annotations

from typing import Any

import torch

from amend.algo.imitation import Imitation, at_rest, generator, groups
from amend.bounds import Count
from amend.types import Scored


class PairSFT(Imitation):
    """keep_correct: D+; pairs: at most so many of each kind a problem."""

    def __init__(self, *house: Any, keep_correct: bool, pairs: Count, **imitation: Any) -> None:
        super().__init__(*house, **imitation)
        self.keep_correct, self.pairs = keep_correct, pairs

    def select(self, scored: list[Scored]) -> list[Scored]:
        """The pairs, as two-turn traces whose second turn is learnt."""
        draw = generator(self.seed, self.round)
        kept = []
        for some in groups(scored).values():
            right = [one for one in some if one.right[0]]
            wrong = [one for one in some if not one.right[0]]
            kept += self.paired(wrong, right, draw)
            if self.keep_correct and len(right) > 1:
                kept += self.paired(right[::2], right[1::2], draw)
        return [at_rest(one) for one in kept]

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
                    self.play.retell(first[i].episode.problem, replies),
                    (first[i].reward[0], second[j].reward[0]),
                    {},
                )
            )
        return made
