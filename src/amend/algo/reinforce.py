"""REINFORCE (Williams 1992), on every turn that is trained, held to the base model by an exact KL.

    gradient of  E[ sum_k G_k ] - beta sum_t KL(pi_t || pi_ref,t),     G_k = sum_(j >= k) gamma^(j - k) r_j
    estimate:    (G_k - b) grad log pi(y_k | x_k)

The baseline b is none, or the mean of the batch's other episodes: one yardstick for easy and hard problems alike
(algo=rloo has one a problem).
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


class Reinforce(Algorithm):
    """baseline, gamma, beta: as above."""

    def __init__(
        self, *house: Any, baseline: Literal["none", "batch"], gamma: Fraction, beta: NonNegative, **loop: Any
    ) -> None:
        super().__init__(*house, **loop)
        self.baseline, self.gamma, self.beta = baseline, gamma, beta

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The return over the baseline, on every token of its turn."""
        gain = credits.returns(batch.reward, self.gamma)
        expected = credits.batch_mean(gain) if self.baseline == "batch" else torch.zeros_like(gain)
        return credits.spread(gain - expected, batch.turn, batch.sampled)

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The score function, and the KL."""
        loss = surrogate.reinforce(out.logp, credit)
        return loss + self.beta * out.kl if self.needs_reference() else loss

    def needs_reference(self) -> bool:
        """Only to be held to it."""
        return self.beta > 0
