"""Naive multi-turn RL: correctness of both attempts and nothing else (SCoRe, arXiv 2409.12917, Eq. 1 and section 4).

    max  E[ sum_i r(y_i) - beta KL(pi(. | x_i) || pi_ref(. | x_i)) ],     leave-one-out within the problem and turn

What SCoRe is held against, and on open models its strongest rival: both accuracies rise, and since saying one good
answer twice is as good as correcting oneself, the second attempt comes to repeat the first.
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
from amend.ops.advantages import broadcast_to_tokens, leave_one_out, returns
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


class MultiTurn(Algorithm):
    """beta: as above; paid: every turn, or only the last; gamma: what a turn answers for of later ones."""

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
        """Each turn's return over that of the problem's other episodes at that turn."""
        pay = batch.reward
        if self.reward_turns == "last":
            pay = torch.cat([torch.zeros_like(pay[:, :-1]), pay[:, -1:]], dim=1)
        gain = returns(pay, self.gamma)
        return broadcast_to_tokens(gain - leave_one_out(gain, batch.group_id), batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """The score function, and the KL."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        return loss + self.kl_coef * out.kl if self.loss_uses_reference() else loss

    def loss_uses_reference(self) -> bool:
        """Only to be held to it."""
        return self.kl_coef > 0
