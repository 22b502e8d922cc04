"""Train with GRPO, group relative policy optimization (Shao et al. 2024, arXiv 2402.03300).

    A_i = (r_i - mean r) / (std r + eps)             over the group of a problem's samples
    L_t = - min(rho_t A_i, clip(rho_t, 1 - low, 1 + high) A_i) + beta KL_k3(pi || pi_ref)
    rho_t = pi(y_t) / pi_sampler(y_t)

beta is ``kl_coef``; low and high are ``clip_ratio_low`` and ``clip_ratio_high``. The successors of GRPO are other
values of its keys:

    variant     scale_rewards   loss_agg_mode              clip ratios   beta   paper
    GRPO        true            seq_mean_token_mean        high = low    0.04   Shao et al. 2024
    Dr. GRPO    false           seq_mean_token_sum_norm    high = low    0      Liu et al. 2025
    DAPO        true            token_mean                 high > low    0      Yu et al. 2025

DAPO also sets ``remove_constant_reward_groups``. Each turn has its own reward, and is compared with the same turn of
the other episodes in the group.
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
    """Group-relative advantages with a clipped policy loss.

    Args:
        context: The context of the run.
        kl_coef: The weight beta of the k3 estimate of the KL to the reference model.
        clip_ratio_low: The importance ratio is clipped below at 1 minus this number.
        clip_ratio_high: The importance ratio is clipped above at 1 plus this number.
        scale_rewards: Whether to divide the advantage by the standard deviation of the group.
        loss_agg_mode: How to aggregate the losses of tokens, see ``ops.aggregation``.
        remove_constant_reward_groups: Whether to drop groups whose rewards are all equal.
        **loop: The keys of ``LoopConfig``.
    """

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
        """Fill the reference log-probabilities and drop constant groups.

        If ``remove_constant_reward_groups``, drop groups whose rewards are all equal. If this would drop every group,
        keep them all.

        Args:
            batch: The episodes of an iteration.

        Returns:
            The episodes that the update uses.
        """
        batch = super().prepare(batch)
        is_mixed = ~has_zero_variance(batch.reward, batch.group_id)
        if self.remove_constant_reward_groups and bool(is_mixed.any()):
            return batch.rows(is_mixed.nonzero()[:, 0])
        return batch

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the reward of each turn relative to its group, at every token of the turn."""
        relative = normalize_by_group if self.scale_rewards else center_by_group
        return broadcast_to_tokens(relative(batch.reward, batch.group_id), batch.turn, batch.loss_mask)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the clipped policy loss and k3. With one optimizer step per iteration the ratio is 1."""
        old_logprobs = out.logp if self.num_minibatches * self.update_epochs == 1 else batch.old_logprobs
        loss = policy_loss.ppo_clip_loss(out.logp, old_logprobs, advantages, self.clip_ratio_low, self.clip_ratio_high)
        return loss + self.kl_coef * kl.k3(out.logp, out.ref_logp) if self.loss_uses_reference() else loss

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the token weights of ``loss_agg_mode``."""
        if self.loss_agg_mode == "seq_mean_token_sum_norm":
            return aggregation.seq_mean_token_sum_norm(batch.loss_mask, self.max_tokens)
        return (
            aggregation.seq_mean_token_mean(batch.loss_mask)
            if self.loss_agg_mode == "seq_mean_token_mean"
            else aggregation.token_mean(batch.loss_mask)
        )

    def loss_uses_reference(self) -> bool:
        """Return whether the loss contains a KL to the reference model."""
        return self.kl_coef > 0
