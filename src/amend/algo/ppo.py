"""PPO (Schulman et al. 2017, arXiv 1707.06347) for language models, over all tokens of all turns, with a value head.

    pay_t   = r_k at the last token of turn k  (or along the way)  -  beta (log pi_t - log pi_ref,t)
    A_t     = GAE(gamma, lambda) over the sampled tokens of an episode: time passes from the end of one turn to the
              beginning of the next, not over the words in between;  target_t = A_t + V_t
    L_t     = - min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t)
              + value_weight / 2 max((V_t - target_t)^2, (V_old + clip(V_t - V_old, +- value_clip) - target_t)^2)

V is one linear layer on what the policy predicts the token from; its loss shapes the policy's own layers too. Several
epochs of minibatches a round, as in Havrilla et al. 2024 (arXiv 2403.04642), whose KL is 0.05.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch
from amend.errors import UserError
from amend.ops import aggregation, kl, policy_loss
from amend.ops.advantages import at_turn_ends, gae, whiten
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative, Positive


class PPO(Algorithm):
    """gamma, lam, beta, clips, value_weight, value_clip: as above; whiten: advantages to mean 0 and deviation 1."""

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        gamma: Fraction,
        gae_lambda: Fraction,
        kl_coef: NonNegative,
        clip_ratio_low: Fraction,
        clip_ratio_high: NonNegative,
        vf_coef: NonNegative,
        clip_range_vf: Positive,
        normalize_advantage: bool,
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.gamma, self.gae_lambda, self.kl_coef, self.clip_ratio_low, self.clip_ratio_high = (
            gamma,
            gae_lambda,
            kl_coef,
            clip_ratio_low,
            clip_ratio_high,
        )
        self.vf_coef, self.clip_range_vf, self.normalize_advantage = vf_coef, clip_range_vf, normalize_advantage
        self.value = nn.Linear(self.policy.lm.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.value.weight)  # nothing is expected at first, and no noise is learnt from
        nn.init.zeros_(self.value.bias)

    def prepare(self, batch: Batch) -> Batch:
        """The batch with the critic's values, and the returns they are to become."""
        batch = super().prepare(batch)

        def expected(micro: Batch) -> Float[Tensor, "b t"]:
            return self.values(micro, self.policy(micro.tokens, micro.loss_mask, micro.temperature, reference=False))

        value = self.read(batch, expected)
        target = value + gae(self.pay(batch), value, batch.loss_mask, self.gamma, self.gae_lambda)
        return replace(
            batch, extras={**batch.extras, "value": value, "target": torch.where(batch.loss_mask, target, 0.0)}
        )

    def pay(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What each token is paid: its turn's reward where it falls due, less its own share of the KL."""
        on_the_way = torch.zeros_like(batch.reward).scatter_add(1, batch.turn.clamp(min=0), batch.token_rewards)
        pay = batch.token_rewards + at_turn_ends(batch.reward - on_the_way, batch.turn, batch.loss_mask)
        if self.reward_uses_reference():
            pay = pay - self.kl_coef * torch.where(batch.loss_mask, kl.k1(batch.old_logprobs, batch.ref_logp), 0.0)
        return pay

    def values(self, batch: Batch, out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """V before each sampled token; 0 elsewhere."""
        if out.hidden is None:
            raise UserError("algo=ppo: this model does not show what its logits come from; allowed: another model")
        said = self.value(out.hidden.float())[:, 0]
        return torch.zeros_like(batch.old_logprobs).masked_scatter(batch.loss_mask, said.to(batch.old_logprobs.dtype))

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The advantage."""
        advantage = batch.extras["target"] - batch.extras["value"]
        return whiten(advantage, batch.loss_mask) if self.normalize_advantage else advantage

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """The clipped surrogate and the clipped value loss."""
        policy = policy_loss.ppo_clip_loss(
            out.logp, batch.old_logprobs, advantages, self.clip_ratio_low, self.clip_ratio_high
        )
        value, before, target = self.values(batch, out), batch.extras["value"], batch.extras["target"]
        near = before + (value - before).clamp(-self.clip_range_vf, self.clip_range_vf)
        return policy + self.vf_coef / 2 * torch.maximum((value - target).square(), (near - target).square())

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """One mean over all tokens."""
        return aggregation.token_mean(batch.loss_mask)

    def reward_uses_reference(self) -> bool:
        """The KL is part of the reward."""
        return self.kl_coef > 0
