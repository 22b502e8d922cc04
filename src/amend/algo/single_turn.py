"""Train only the first attempt with RL and evaluate two (SCoRe, Table 4, "w/o multi-turn training").

    max  E[ r(y1) ] - beta KL(pi(. | x1) || pi_ref(. | x1))

beta is ``kl_coef``. The baseline is leave-one-out within the problem. This algorithm is the control for claims about
self-correction: a better first attempt raises both accuracies and leaves their difference unchanged.
"""

from __future__ import annotations

from typing import Unpack

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch
from amend.ops import policy_loss
from amend.ops.advantages import broadcast_to_tokens, leave_one_out
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import NonNegative


class SingleTurn(Algorithm):
    """REINFORCE on the first attempt with a leave-one-out baseline.

    Args:
        context: The context of the run.
        kl_coef: The weight beta of the exact KL to the base model.
        **loop: The keys of ``LoopConfig``.
    """

    fixed = {"turns": 1}  # noqa: RUF012
    compares_group = True  # its baseline is the mean of the problem's other episodes

    def __init__(self, context: AlgorithmContext, *, kl_coef: NonNegative, **loop: Unpack[LoopConfig]) -> None:
        super().__init__(context, **loop)
        self.kl_coef = kl_coef

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return at each token of the first attempt its reward, minus the mean over the problem's other episodes."""
        first = batch.reward[:, :1]
        advantage = (first - leave_one_out(first, batch.group_id)).expand_as(batch.reward)
        return broadcast_to_tokens(advantage, batch.turn, batch.loss_mask & (batch.turn == 0))

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the REINFORCE loss and the KL on the first attempt."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        return loss + self.kl_coef * out.kl * (batch.turn == 0) if self.loss_uses_reference() else loss

    def loss_uses_reference(self) -> bool:
        """Return whether the loss contains a KL to the reference model."""
        return self.kl_coef > 0
