"""Single-turn RL: the first attempt alone is trained, two are evaluated (SCoRe, Table 4, "w/o multi-turn training").

    max  E[ r(y1) ] - beta KL(pi(. | x1) || pi_ref(. | x1)),     leave-one-out within the problem

The control for every claim about self-correction: a better first attempt raises both accuracies and moves no delta.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.bounds import NonNegative
from amend.ops import credit as credits
from amend.ops import surrogate
from amend.ops.likelihood import Likelihood


class SingleTurn(Algorithm):
    """beta: as above."""

    def __init__(self, *house: Any, beta: NonNegative, **loop: Any) -> None:
        super().__init__(*house, **loop)
        self.beta = beta

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The first attempt's reward over that of the problem's other attempts."""
        first = batch.reward[:, :1]
        gain = (first - credits.leave_one_out(first, batch.group)).expand_as(batch.reward)
        return credits.spread(gain, batch.turn, batch.sampled & (batch.turn == 0))

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The score function, and the KL, on the first attempt."""
        loss = surrogate.reinforce(out.logp, credit)
        return loss + self.beta * out.kl * (batch.turn == 0) if self.needs_reference() else loss

    def needs_reference(self) -> bool:
        """Only to be held to it."""
        return self.beta > 0
