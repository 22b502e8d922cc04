"""Train with RLOO, REINFORCE leave-one-out (Ahmadian et al. 2024, "Back to Basics", arXiv 2402.14740).

    R_i = r_i - beta sum_t (log pi(y_t) - log pi_ref(y_t))          the KL is part of the reward, without gradient
    A_i = R_i - 1 / (n - 1) sum_(j != i) R_j                        relative to the problem's other samples
    L   = - mean_i min(rho_i A_i, clip(rho_i, 1 - low, 1 + high) A_i),   rho_i = pi(y_i | x) / pi_sampler(y_i | x)

beta is ``kl_coef``; low and high are ``clip_ratio_low`` and ``clip_ratio_high``. A whole reply is one action, and each
turn is an action of its own. With one optimizer step per iteration, rho is 1 and the gradient is
A_i grad log pi(y_i | x).
"""

from __future__ import annotations

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch
from amend.ops import kl, policy_loss
from amend.ops.advantages import broadcast_to_tokens, leave_one_out
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


class RLOO(Algorithm):
    """Leave-one-out advantages with a policy loss that is clipped per reply.

    Args:
        context: The context of the run.
        kl_coef: The weight beta of the k1 estimate of the KL in the reward.
        clip_ratio_low: The importance ratio of a reply is clipped below at 1 minus this number.
        clip_ratio_high: The importance ratio of a reply is clipped above at 1 plus this number.
        **loop: The keys of ``LoopConfig``.
    """

    compares_group = True  # its baseline is the mean of the problem's other episodes

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        kl_coef: NonNegative,
        clip_ratio_low: Fraction,
        clip_ratio_high: NonNegative,
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.kl_coef, self.clip_ratio_low, self.clip_ratio_high = kl_coef, clip_ratio_low, clip_ratio_high

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return at each token the advantage of its turn: R_i minus the mean of R over the problem's other samples."""
        reward = batch.reward
        if self.reward_uses_reference():
            token_kl = torch.where(batch.loss_mask, kl.k1(batch.old_logprobs, batch.ref_logp), 0.0)
            turn_kl = torch.zeros_like(reward).scatter_add(1, batch.turn.clamp(min=0), token_kl)
            reward = reward - self.kl_coef * turn_kl
        return broadcast_to_tokens(reward - leave_one_out(reward, batch.group_id), batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the policy loss, clipped by the importance ratio of whole replies."""
        old_logprobs = out.logp if self.num_minibatches * self.update_epochs == 1 else batch.old_logprobs
        return policy_loss.sequence_clip_loss(
            out.logp, old_logprobs, advantages, batch.turn, batch.loss_mask, self.clip_ratio_low, self.clip_ratio_high
        )

    def reward_uses_reference(self) -> bool:
        """Return whether the reward contains a KL to the reference model."""
        return self.kl_coef > 0
