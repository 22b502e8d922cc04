"""Train with PPO and a value head, over all tokens of all turns (Schulman et al. 2017, arXiv 1707.06347).

    r_t     = reward of turn k at its last token  -  beta (log pi_t - log pi_ref,t)
    A_t     = GAE(gamma, lambda) over the sampled tokens of an episode;   target_t = A_t + V_t
    L_t     = - min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t)
              + c / 2 max((V_t - target_t)^2, (V_old + clip(V_t - V_old, -range, range) - target_t)^2)

The symbols are these keys: beta is ``kl_coef``, lambda ``gae_lambda``, low ``clip_ratio_low``, high
``clip_ratio_high``, c ``vf_coef`` and range ``clip_range_vf``. A reward with values at tokens gives each value at its
token, and the remainder of the turn's reward at the last token. Time steps of GAE are sampled tokens. The tokens of a
prompt between two turns are no time steps.

V is one linear layer on the hidden state from which the policy predicts the token. The value loss therefore also trains
the layers of the policy. An iteration makes several passes over several minibatches, as in Havrilla et al. 2024 (arXiv
2403.04642). Their KL coefficient is 0.05.
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
from amend.ops.advantages import gae, normalize_over_tokens, place_at_turn_ends
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Fraction, NonNegative, Positive


class PPO(Algorithm):
    """Generalized advantages of a value head with clipped policy and value losses.

    Args:
        context: The context of the run.
        gamma: The discount per sampled token.
        gae_lambda: The parameter lambda of GAE.
        kl_coef: The weight beta of the k1 estimate of the KL in the reward.
        clip_ratio_low: The importance ratio is clipped below at 1 minus this number.
        clip_ratio_high: The importance ratio is clipped above at 1 plus this number.
        vf_coef: The weight of the value loss.
        clip_range_vf: The largest change of a value in an iteration that the value loss rewards.
        normalize_advantage: Whether to normalize the advantages to mean 0 and standard deviation 1.
        **loop: The keys of ``LoopConfig``.

    Raises:
        UserError: In the first iteration, if the model does not expose its hidden states.
    """

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
        nn.init.zeros_(self.value.weight)  # values start at 0, so the first advantages contain no noise
        nn.init.zeros_(self.value.bias)

    def prepare(self, batch: Batch) -> Batch:
        """Fill the reference log-probabilities, the values and the targets of the values.

        Args:
            batch: The episodes of an iteration.

        Returns:
            The batch with the extras ``values`` and ``value_targets``.
        """
        batch = super().prepare(batch)

        def compute_values(micro: Batch) -> Float[Tensor, "b t"]:
            return self.values(micro, self.policy(micro.tokens, micro.loss_mask, micro.temperature, reference=False))

        value = self.read(batch, compute_values)
        target = value + gae(self.pay(batch), value, batch.loss_mask, self.gamma, self.gae_lambda)
        return replace(
            batch, extras={**batch.extras, "values": value, "value_targets": torch.where(batch.loss_mask, target, 0.0)}
        )

    def pay(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the reward r_t of each token, with the KL term."""
        token_sum = torch.zeros_like(batch.reward).scatter_add(1, batch.turn.clamp(min=0), batch.token_rewards)
        reward = batch.token_rewards + place_at_turn_ends(batch.reward - token_sum, batch.turn, batch.loss_mask)
        if self.reward_uses_reference():
            token_kl = torch.where(batch.loss_mask, kl.k1(batch.old_logprobs, batch.ref_logp), 0.0)
            reward = reward - self.kl_coef * token_kl
        return reward

    def values(self, batch: Batch, out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute V before each sampled token.

        Args:
            batch: The episodes of a micro-batch.
            out: Their log-probabilities and hidden states under the current policy.

        Returns:
            The values, 0 where ``batch.loss_mask`` is False.

        Raises:
            UserError: If the model does not expose its hidden states.
        """
        if out.hidden is None:
            raise UserError(
                "algo=ppo: this model does not expose the hidden states behind its logits; allowed: a model that does"
            )
        value = self.value(out.hidden.float())[:, 0]
        return torch.zeros_like(batch.old_logprobs).masked_scatter(batch.loss_mask, value.to(batch.old_logprobs.dtype))

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the advantage of each token, which ``prepare`` computed."""
        advantage = batch.extras["value_targets"] - batch.extras["values"]
        return normalize_over_tokens(advantage, batch.loss_mask) if self.normalize_advantage else advantage

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the clipped policy loss and the clipped value loss."""
        policy = policy_loss.ppo_clip_loss(
            out.logp, batch.old_logprobs, advantages, self.clip_ratio_low, self.clip_ratio_high
        )
        value, old_value, target = self.values(batch, out), batch.extras["values"], batch.extras["value_targets"]
        clipped = old_value + (value - old_value).clamp(-self.clip_range_vf, self.clip_range_vf)
        return policy + self.vf_coef / 2 * torch.maximum((value - target).square(), (clipped - target).square())

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the weights of a mean over all sampled tokens."""
        return aggregation.token_mean(batch.loss_mask)

    def reward_uses_reference(self) -> bool:
        """Return whether the reward contains a KL to the reference model."""
        return self.kl_coef > 0
