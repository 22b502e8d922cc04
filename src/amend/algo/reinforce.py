"""Train with REINFORCE (Williams 1992) and the exact KL to the base model.

    gradient of  E[ sum_k G_k ] - beta sum_t KL(pi_t || pi_ref,t),     G_k = sum_(j >= k) gamma^(j - k) r_j
    estimate:    (G_k - b) grad log pi(y_k | x_k)

beta is ``kl_coef``. G_k is the return of turn k, and r_j the reward of turn j. The baseline b is 0 or the mean of the
other episodes of the batch. This mean is the same for easy and hard problems; ``algo=rloo`` has one baseline per
problem.
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
from amend.ops.advantages import batch_mean, broadcast_to_tokens, discounted_returns
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


class Reinforce(Algorithm):
    """REINFORCE on every trained turn.

    Args:
        context: The context of the run.
        baseline: The baseline b: 0 (``none``), or the mean of the other episodes of the batch (``batch``).
        gamma: The discount for rewards of later turns. With 0, the return of a turn is its own reward.
        kl_coef: The weight beta of the exact KL to the base model.
        **loop: The keys of ``LoopConfig``.
    """

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
        """Return at each token the return of its turn, minus the baseline."""
        turn_return = discounted_returns(batch.reward, self.gamma)
        baseline = batch_mean(turn_return) if self.baseline == "batch" else torch.zeros_like(turn_return)
        return broadcast_to_tokens(turn_return - baseline, batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the REINFORCE loss and the KL."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        return loss + self.kl_coef * out.kl if self.loss_uses_reference() else loss

    def loss_uses_reference(self) -> bool:
        """Return whether the loss contains a KL to the reference model."""
        return self.kl_coef > 0
