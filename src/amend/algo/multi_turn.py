"""Train with naive multi-turn RL: both attempts get their own reward (SCoRe, arXiv 2409.12917, Eq. 1 and section 4).

    max  E[ sum_i r(y_i) - beta KL(pi(. | x_i) || pi_ref(. | x_i)) ]

beta is ``kl_coef``. The baseline is leave-one-out within the problem and the turn. SCoRe uses this method as a
baseline. It raises both accuracies, but a right answer that is given twice has the same reward as a correction. The
second attempt therefore tends to repeat the first.
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
from amend.ops.advantages import broadcast_to_tokens, discounted_returns, leave_one_out
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


class MultiTurn(Algorithm):
    """REINFORCE over all turns with a leave-one-out baseline.

    Args:
        context: The context of the run.
        kl_coef: The weight beta of the exact KL to the base model.
        reward_turns: The turns whose reward counts: all, or only the last.
        gamma: The discount for rewards of later turns. With 0, the return of a turn is its own reward.
        **loop: The keys of ``LoopConfig``.
    """

    compares_group = True  # its baseline is the mean of the problem's other episodes

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        kl_coef: NonNegative,
        reward_turns: Literal["all", "last"],
        gamma: Fraction,
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.kl_coef, self.reward_turns, self.gamma = kl_coef, reward_turns, gamma

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return at each token the return of its turn, minus the mean over the problem's other episodes."""
        reward = batch.reward
        if self.reward_turns == "last":
            reward = torch.cat([torch.zeros_like(reward[:, :-1]), reward[:, -1:]], dim=1)
        turn_return = discounted_returns(reward, self.gamma)
        advantage = turn_return - leave_one_out(turn_return, batch.group_id)
        return broadcast_to_tokens(advantage, batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the REINFORCE loss and the KL."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        return loss + self.kl_coef * out.kl if self.loss_uses_reference() else loss

    def loss_uses_reference(self) -> bool:
        """Return whether the loss contains a KL to the reference model."""
        return self.kl_coef > 0
