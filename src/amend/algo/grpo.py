"""GRPO: group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300), its successors as values of knobs.

    A_i = (r_i - mean r) / (std r + eps)             over the group of a problem's samples
    L_t = - min(rho_t A_i, clip(rho_t, 1 - low, 1 + high) A_i) + beta KL_k3(pi || pi_ref)

    GRPO      standardize=true   reduction=sequence   clip_high = clip_low   beta=0.04
    Dr. GRPO  standardize=false  reduction=constant                          beta=0       (Liu et al. 2025)
    DAPO      standardize=true   reduction=token      clip_high > clip_low   beta=0       (Yu et al. 2025; skip_equal)

Each turn's group is held against itself; a turn is paid its own reward.
"""

from __future__ import annotations

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.bounds import Fraction, NonNegative
from amend.ops import credit as credits
from amend.ops import kl, reduce, surrogate
from amend.ops.likelihood import Likelihood


class GRPO(Algorithm):
    """Group-relative advantages under a clipped surrogate; ``standardize``, ``reduction``, clips and beta as above."""

    def __init__(
        self,
        *house: Any,
        beta: NonNegative,
        clip_low: Fraction,
        clip_high: NonNegative,
        standardize: bool,
        reduction: Literal["sequence", "token", "constant"],
        skip_equal: bool,
        **loop: Any,
    ) -> None:
        super().__init__(*house, **loop)
        self.beta, self.clip_low, self.clip_high = beta, clip_low, clip_high
        self.standardize, self.reduction, self.skip_equal = standardize, reduction, skip_equal

    def prepare(self, batch: Batch) -> Batch:
        """With ``skip_equal``, as if groups that were all paid alike had not been played (unless all of them were)."""
        batch = super().prepare(batch)
        taught = ~credits.alike(batch.reward, batch.group)
        return batch.rows(taught.nonzero()[:, 0]) if self.skip_equal and bool(taught.any()) else batch

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The reward relative to the group's, on every token of its turn."""
        relative = credits.standardize if self.standardize else credits.centre
        return credits.spread(relative(batch.reward, batch.group), batch.turn, batch.sampled)

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The clipped surrogate and k3. With one update a round the ratio is 1 and its gradient that of log pi."""
        behaviour = out.logp if self.updates * self.epochs == 1 else batch.logp
        loss = surrogate.clipped(out.logp, behaviour, credit, self.clip_low, self.clip_high)
        return loss + self.beta * kl.k3(out.logp, out.ref_logp) if self.needs_reference() else loss

    def weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What a token counts for."""
        if self.reduction == "constant":
            return reduce.constant(batch.sampled, self.max_tokens)
        return reduce.sequence(batch.sampled) if self.reduction == "sequence" else reduce.token(batch.sampled)

    def needs_reference(self) -> bool:
        """Only to be held to it."""
        return self.beta > 0
