"""GRPO: group relative policy optimisation (Shao et al. 2024, arXiv 2402.03300), its successors as values of knobs.

    A_i = (r_i - mean r) / (std r + eps)             over the group of a problem's samples
    L_t = - min(rho_t A_i, clip(rho_t, 1 - low, 1 + high) A_i) + beta KL_k3(pi || pi_ref)

    GRPO      standardize=true   reduction=sequence   clip_high = clip_low   beta=0.04
    Dr. GRPO  standardize=false  reduction=constant                          beta=0       (Liu et al. 2025)
    DAPO      standardize=true   reduction=token      clip_high > clip_low   beta=0       (Yu et al. 2025; skip_equal)

Each turn's group is held against itself; a turn is paid its own reward.
"""

from __future__ import annotations

from typing import Literal, Unpack

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch
from amend.ops import aggregation, kl, policy_loss
from amend.ops.advantages import broadcast_to_tokens, center_by_group, has_zero_variance, normalize_by_group
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative


class GRPO(Algorithm):
    """Group-relative advantages under a clipped surrogate; ``standardize``, ``reduction``, clips and beta as above."""

    compares_group = True  # rewards are centered by group

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        kl_coef: NonNegative,
        clip_ratio_low: Fraction,
        clip_ratio_high: NonNegative,
        scale_rewards: bool,
        loss_agg_mode: Literal["seq_mean_token_mean", "token_mean", "seq_mean_token_sum_norm"],
        remove_constant_reward_groups: bool,
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.kl_coef, self.clip_ratio_low, self.clip_ratio_high = kl_coef, clip_ratio_low, clip_ratio_high
        self.scale_rewards, self.loss_agg_mode, self.remove_constant_reward_groups = (
            scale_rewards,
            loss_agg_mode,
            remove_constant_reward_groups,
        )

    def prepare(self, batch: Batch) -> Batch:
        """With ``skip_equal``, as if groups that were all paid alike had not been played (unless all of them were)."""
        batch = super().prepare(batch)
        taught = ~has_zero_variance(batch.reward, batch.group_id)
        return (
            batch.rows(taught.nonzero()[:, 0]) if self.remove_constant_reward_groups and bool(taught.any()) else batch
        )

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The reward relative to the group's, on every token of its turn."""
        relative = normalize_by_group if self.scale_rewards else center_by_group
        return broadcast_to_tokens(relative(batch.reward, batch.group_id), batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """The clipped surrogate and k3. With one update a round the ratio is 1 and its gradient that of log pi."""
        behaviour = out.logp if self.num_minibatches * self.update_epochs == 1 else batch.old_logprobs
        loss = policy_loss.ppo_clip_loss(out.logp, behaviour, advantages, self.clip_ratio_low, self.clip_ratio_high)
        return loss + self.kl_coef * kl.k3(out.logp, out.ref_logp) if self.loss_uses_reference() else loss

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What a token counts for."""
        if self.loss_agg_mode == "seq_mean_token_sum_norm":
            return aggregation.seq_mean_token_sum_norm(batch.loss_mask, self.max_tokens)
        return (
            aggregation.seq_mean_token_mean(batch.loss_mask)
            if self.loss_agg_mode == "seq_mean_token_mean"
            else aggregation.token_mean(batch.loss_mask)
        )

    def loss_uses_reference(self) -> bool:
        """Only to be held to it."""
        return self.kl_coef > 0
