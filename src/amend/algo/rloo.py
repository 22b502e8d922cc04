"""RLOO: REINFORCE leave-one-out (Ahmadian et al. 2024, "Back to Basics", arXiv 2402.14740). A reply is one action.

    R_i = r_i - beta sum_t (log pi(y_t) - log pi_ref(y_t))          the KL inside the reward, and detached
    A_i = R_i - 1 / (n - 1) sum_(j != i) R_j                        against the problem's other samples
    L   = - mean_i min(rho_i A_i, clip(rho_i, 1 - low, 1 + high) A_i),   rho_i = pi(y_i | x) / pi_sampler(y_i | x)

With one update a round rho is 1 and the gradient is A_i grad log pi(y_i | x). Each turn is an action of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.bounds import Fraction, NonNegative
from amend.ops import credit as credits
from amend.ops import kl, surrogate
from amend.ops.likelihood import Likelihood


class RLOO(Algorithm):
    """beta, clip_low, clip_high: as above."""

    def __init__(self, *house: Any, beta: NonNegative, clip_low: Fraction, clip_high: NonNegative, **loop: Any) -> None:
        super().__init__(*house, **loop)
        self.beta, self.clip_low, self.clip_high = beta, clip_low, clip_high

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Each turn's reward less its KL, over that of the problem's other samples."""
        paid = batch.reward
        if self.pays_reference():
            away = torch.where(batch.sampled, kl.k1(batch.logp, batch.ref_logp), 0.0)
            paid = paid - self.beta * torch.zeros_like(paid).scatter_add(1, batch.turn.clamp(min=0), away)
        return credits.spread(paid - credits.leave_one_out(paid, batch.group), batch.turn, batch.sampled)

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The clipped surrogate of whole replies."""
        behaviour = out.logp if self.updates * self.epochs == 1 else batch.logp
        return surrogate.whole(out.logp, behaviour, credit, batch.turn, batch.sampled, self.clip_low, self.clip_high)

    def pays_reference(self) -> bool:
        """The KL is part of the reward."""
        return self.beta > 0
