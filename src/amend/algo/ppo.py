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
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.bounds import Fraction, NonNegative, Positive
from amend.errors import UserError
from amend.ops import credit as credits
from amend.ops import kl, reduce, surrogate
from amend.ops.likelihood import Likelihood


class PPO(Algorithm):
    """gamma, lam, beta, clips, value_weight, value_clip: as above; whiten: advantages to mean 0 and deviation 1."""

    def __init__(
        self,
        *house: Any,
        gamma: Fraction,
        lam: Fraction,
        beta: NonNegative,
        clip_low: Fraction,
        clip_high: NonNegative,
        value_weight: NonNegative,
        value_clip: Positive,
        whiten: bool,
        **loop: Any,
    ) -> None:
        super().__init__(*house, **loop)
        self.gamma, self.lam, self.beta, self.clip_low, self.clip_high = gamma, lam, beta, clip_low, clip_high
        self.value_weight, self.value_clip, self.whiten = value_weight, value_clip, whiten
        self.value = nn.Linear(self.policy.lm.config.get_text_config().hidden_size, 1)
        nn.init.zeros_(self.value.weight)  # nothing is expected at first, and no noise is learnt from
        nn.init.zeros_(self.value.bias)

    def prepare(self, batch: Batch) -> Batch:
        """The batch with the critic's values, and the returns they are to become."""
        batch = super().prepare(batch)

        def expected(micro: Batch) -> Float[Tensor, "b t"]:
            return self.values(micro, self.policy(micro.tokens, micro.sampled, micro.temperature, reference=False))

        value = self.read(batch, expected)
        target = value + credits.gae(self.pay(batch), value, batch.sampled, self.gamma, self.lam)
        return replace(batch, more={**batch.more, "value": value, "target": torch.where(batch.sampled, target, 0.0)})

    def pay(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What each token is paid: its turn's reward where it falls due, less its own share of the KL."""
        on_the_way = torch.zeros_like(batch.reward).scatter_add(1, batch.turn.clamp(min=0), batch.along)
        pay = batch.along + credits.at_turn_ends(batch.reward - on_the_way, batch.turn, batch.sampled)
        if self.pays_reference():
            pay = pay - self.beta * torch.where(batch.sampled, kl.k1(batch.logp, batch.ref_logp), 0.0)
        return pay

    def values(self, batch: Batch, out: Likelihood) -> Float[Tensor, "b t"]:
        """V before each sampled token; 0 elsewhere."""
        if out.hidden is None:
            raise UserError("algo=ppo: this model does not show what its logits come from; allowed: another model")
        said = self.value(out.hidden.float())[:, 0]
        return torch.zeros_like(batch.logp).masked_scatter(batch.sampled, said.to(batch.logp.dtype))

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The advantage."""
        advantage = batch.more["target"] - batch.more["value"]
        return credits.whiten(advantage, batch.sampled) if self.whiten else advantage

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The clipped surrogate and the clipped value loss."""
        policy = surrogate.clipped(out.logp, batch.logp, credit, self.clip_low, self.clip_high)
        value, before, target = self.values(batch, out), batch.more["value"], batch.more["target"]
        near = before + (value - before).clamp(-self.value_clip, self.value_clip)
        return policy + self.value_weight / 2 * torch.maximum((value - target).square(), (near - target).square())

    def weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """One mean over all tokens."""
        return reduce.token(batch.sampled)

    def pays_reference(self) -> bool:
        """The KL is part of the reward."""
        return self.beta > 0
