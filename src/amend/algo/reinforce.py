"""REINFORCE (Williams 1992), on every turn that is trained, held to the base model by an exact KL.

    gradient of  E[ sum_k G_k ] - beta sum_t KL(pi_t || pi_ref,t),     G_k = sum_(j >= k) gamma^(j - k) r_j
    estimate:    (G_k - b) grad log pi(y_k | x_k)

The baseline b is none, or the mean of the batch's other episodes: one yardstick for easy and hard problems alike
(algo=rloo has one a problem).
"""

from __future__ import annotations

from typing import Literal, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch
from amend.ops import policy_loss
from amend.ops.advantages import batch_mean, broadcast_to_tokens, returns
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


class Reinforce(Algorithm):
    """baseline, gamma, beta: as above."""

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        baseline: Literal["none", "batch"],
        gamma: Fraction,
        kl_coef: NonNegative,
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.baseline, self.gamma, self.kl_coef = baseline, gamma, kl_coef

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The return over the baseline, on every token of its turn."""
        gain = returns(batch.reward, self.gamma)
        expected = batch_mean(gain) if self.baseline == "batch" else torch.zeros_like(gain)
        return broadcast_to_tokens(gain - expected, batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """The score function, and the KL."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        return loss + self.kl_coef * out.kl if self.loss_uses_reference() else loss

    def loss_uses_reference(self) -> bool:
        """Only to be held to it."""
        return self.kl_coef > 0
