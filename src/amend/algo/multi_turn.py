"""Naive multi-turn RL: correctness of both attempts and nothing else (SCoRe, arXiv 2409.12917, Eq. 1 and section 4).

    max  E[ sum_i r(y_i) - beta KL(pi(. | x_i) || pi_ref(. | x_i)) ],     leave-one-out within the problem and turn

What SCoRe is held against, and on open models its strongest rival: both accuracies rise, and since saying one good
answer twice is as good as correcting oneself, the second attempt comes to repeat the first.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.bounds import Fraction, NonNegative
from amend.ops import credit as credits
from amend.ops import surrogate
from amend.ops.likelihood import Likelihood


class MultiTurn(Algorithm):
    """beta: as above; paid: every turn, or only the last; gamma: what a turn answers for of later ones."""

    def __init__(
        self, *house: Any, beta: NonNegative, paid: Literal["all", "last"], gamma: Fraction, **loop: Any
    ) -> None:
        super().__init__(*house, **loop)
        self.beta, self.paid, self.gamma = beta, paid, gamma

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Each turn's return over that of the problem's other episodes at that turn."""
        pay = batch.reward
        if self.paid == "last":
            pay = torch.cat([torch.zeros_like(pay[:, :-1]), pay[:, -1:]], dim=1)
        gain = credits.returns(pay, self.gamma)
        return credits.spread(gain - credits.leave_one_out(gain, batch.group), batch.turn, batch.sampled)

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The score function, and the KL."""
        loss = surrogate.reinforce(out.logp, credit)
        return loss + self.beta * out.kl if self.needs_reference() else loss

    def needs_reference(self) -> bool:
        """Only to be held to it."""
        return self.beta > 0
