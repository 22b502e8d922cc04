"""Train with SCoRe, self-correction via reinforcement learning (Kumar et al. 2024, arXiv 2409.12917).

A base model often makes its answer worse if it is asked again. Plain multi-turn RL learns one good answer and repeats
it. SCoRe therefore trains the two attempts in two stages. x1 is the problem, y1 the first attempt, and y2 the second
attempt, with the context x2 = [x1, y1, instruction]. r(y) is 1 for a right answer and 0 otherwise. pi_ref is the base
model.

    Stage I  (Eq. 3)   max E[ r(y2) - beta2 KL(pi(.|x1) || pi_ref(.|x1)) - beta1 KL(pi(.|x2) || pi_ref(.|x2)) ]
    Stage II (Eq. 4)   max E[ sum_i r(y_i) - beta1 KL(pi(.|x_i) || pi_ref(.|x_i)) ]
                       the reward of y2 becomes  r(y2) + alpha (r(y2) - r(y1))

Stage I trains the second attempt to correct the first. The first attempt has no reward, and its KL keeps it close to
the base model. Stage II trains both attempts. Its bonus rewards a second attempt that makes a wrong answer right.

With the default gamma = 0, the return of a turn is its own reward. Turn 1 then never receives the bonus. Otherwise
alpha > 1 would reward a wrong first attempt. With more than two turns, Stage I has one part for each later turn (ICLR
version, Appendix A). Part I(a) trains turn 2, part I(b) trains turn 3, and so on. The weight beta2 keeps all turns
before the trained turn close to the base model.

Each ablation of the paper's Table 4 is a value of a key: ``turns=1``, ``stage1_iterations=0``, ``shaping_coef=0``,
``stage2=star`` and ``prefill=base_attempt``. The last one samples first attempts from the base model (section 5.3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch, collate
from amend.ops import kl, policy_loss
from amend.ops.advantages import add_shaping_bonus, batch_mean, broadcast_to_tokens, discounted_returns, leave_one_out
from amend.ops.logprobs import TokenLogprobs
from amend.types import Scored
from amend.value_types import Fraction, Natural, NonNegative


class SCoRe(Algorithm):
    """Two-stage multi-turn REINFORCE with a shaping bonus.

    Args:
        context: The context of the run.
        shaping_coef: The paper's alpha, the coefficient of the bonus in Stage II.
        beta1: The weight of the KL on all other turns than those of ``beta2``.
        beta2: The weight of the KL on the turns before the target turn of Stage I.
        gamma: The discount per turn for rewards of later turns. With 0, the return of a turn is its own reward.
        stage1_iterations: The number of iterations of each part of Stage I. All later iterations are Stage II.
        baseline: The baseline of a turn's return: ``none`` is 0, ``batch`` is the mean of all other episodes, and
            ``problem`` is the mean of the problem's other episodes. In Stage II with gamma = 0, ``context`` also uses
            the term - alpha r(y_(i-1)) of the bonus, which is known before turn i. Otherwise it is ``problem``.
        kl: The form of the KL. ``exact`` is a loss over the whole vocabulary, and ``k2`` is a loss on the sampled
            token. ``k1_in_reward`` subtracts the k1 estimate from the reward, summed to the end of the turn.
        reference: The reference model of later stages: ``base`` is the base model, and ``previous`` is the model at
            the end of the previous stage.
        adaptive_beta2: Whether beta2 follows the ratio of advantage and KL in Stage I; ``beta2`` is its lower bound.
        stage2: The objective of Stage II. ``reinforce`` is Eq. 4. ``star`` imitates the episodes that end right.
        **loop: The keys of ``LoopConfig``.

    Attributes:
        beta2_now: The current value of beta2.
    """

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        shaping_coef: NonNegative,
        beta1: NonNegative,
        beta2: NonNegative,
        gamma: Fraction,
        stage1_iterations: Natural,
        baseline: Literal["none", "batch", "problem", "context"],
        kl: Literal["exact", "k2", "k1_in_reward"],
        reference: Literal["base", "previous"],
        adaptive_beta2: bool,
        stage2: Literal["reinforce", "star"],
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.shaping_coef, self.beta1, self.beta2, self.gamma = shaping_coef, beta1, beta2, gamma
        self.stage1_iterations, self.baseline, self.kl, self.anchor = stage1_iterations, baseline, kl, reference
        self.adaptive_beta2, self.stage2 = adaptive_beta2, stage2
        self.beta2_now = beta2

    @property
    def target(self) -> int | None:
        """The target turn, which this part of Stage I trains (counted from 0); None in Stage II."""
        part = self.iteration // self.stage1_iterations if self.stage1_iterations else self.turns
        return part + 1 if part + 1 < self.turns else None

    @property
    def stage(self) -> str:
        """The name of the stage: I or II. With more than two turns, the parts of Stage I are I(a), I(b), ..."""
        if self.target is None:
            return "II"
        return "I" if self.turns == 2 else f"I({'abcdefghi'[self.target - 1]})"

    def is_final_stage(self) -> bool:
        """Return whether this is Stage II."""
        return self.target is None

    def pay(self, reward: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """Compute the shaped reward of each turn.

        Args:
            reward: The reward of each turn.

        Returns:
            In Stage I, the reward of the target turn, and 0 for all other turns. In Stage II, the reward of each turn
            with the bonus.
        """
        if self.target is None:
            return add_shaping_bonus(reward, self.shaping_coef)
        target_reward = torch.zeros_like(reward)
        target_reward[:, self.target] = reward[:, self.target]
        return target_reward

    def expected(self, pay: Float[Tensor, "b k"], batch: Batch) -> Float[Tensor, "b k"]:
        """Compute the baseline of each turn's return.

        No baseline depends on the tokens that the policy samples in the turn itself, so the gradient stays unbiased.
        """
        if self.baseline == "none":
            return torch.zeros_like(pay)
        if self.baseline == "batch":
            return batch_mean(pay)
        offset = torch.zeros_like(pay)
        if self.baseline == "context" and self.target is None and self.gamma == 0:
            offset[:, 1:] = -self.shaping_coef * batch.reward[:, :-1]  # the previous turn fixes this term of the bonus
        return offset + leave_one_out(pay - offset, batch.group_id)

    def betas(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the weight of the KL at each token: beta2 before the target turn of Stage I, beta1 elsewhere."""
        weight = torch.full(batch.turn.shape, self.beta1, device=batch.turn.device)
        if self.target is not None:
            weight[batch.turn < self.target] = self.beta2_now
        return weight

    def advantage(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Compute the advantage of each turn.

        Args:
            batch: The episodes.

        Returns:
            The return of each turn minus its baseline. In Stage II with ``stage2=star``, 1 for all turns of an episode
            that ends right, and 0 otherwise.
        """
        if self.target is None and self.stage2 == "star":
            return (batch.reward[:, -1:] > 0).to(batch.reward.dtype).expand_as(batch.reward)
        turn_return = discounted_returns(self.pay(batch.reward), self.gamma)
        return turn_return - self.expected(turn_return, batch)

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return at each token the advantage of its turn, minus the KL estimate with ``kl=k1_in_reward``."""
        advantages = broadcast_to_tokens(self.advantage(batch), batch.turn, batch.loss_mask)
        if self.kl == "k1_in_reward":
            advantages = advantages - self._kl_to_go(batch)
        return advantages

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the REINFORCE loss, plus the weighted KL with ``kl=exact`` or ``kl=k2``."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        if self.kl == "exact" and self.loss_uses_reference():
            loss = loss + self.betas(batch) * out.kl
        elif self.kl == "k2" and self.loss_uses_reference():
            loss = loss + self.betas(batch) * kl.k2(out.logp, out.ref_logp)
        return loss

    def _kl_to_go(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Sum beta (log pi - log pi_ref) from each token to the end of its turn: the cost that the token can change."""
        cost = self.betas(batch) * kl.k1(batch.old_logprobs, batch.ref_logp)
        total = torch.zeros_like(cost)
        for k in range(self.turns):
            turn_cost = torch.where(batch.loss_mask & (batch.turn == k), cost, 0.0)
            total += torch.where(batch.turn == k, turn_cost.flip(1).cumsum(1).flip(1), 0.0)
        return torch.where(batch.loss_mask, total, 0.0)

    def loss_uses_reference(self) -> bool:
        """Return whether a KL has a positive weight in this stage."""
        return self.beta1 > 0 or (self.target is not None and self.beta2_now > 0)

    def reward_uses_reference(self) -> bool:
        """Return whether the KL is part of the reward."""
        return self.kl == "k1_in_reward"

    def update(self, scored: list[Scored]) -> dict[str, float]:
        """Train on the episodes of one iteration, and update the reference model and beta2.

        With ``reference=previous``, the current policy becomes the reference model at the beginning of a new stage.

        Args:
            scored: The episodes with their rewards.

        Returns:
            The metrics of the optimizer steps, and ``beta2`` with ``adaptive_beta2``.
        """
        if self.target is None and self.stage2 == "star":
            scored = [
                replace(episode, reward=tuple(float(correct) for correct in episode.correct))
                for episode in scored
                if not episode.failed
            ]
        is_new_part = self.iteration > 0 and self.stage1_iterations > 0 and self.iteration % self.stage1_iterations == 0
        if is_new_part and self.iteration <= self.stage1_iterations * (self.turns - 1) and self.anchor == "previous":
            self.policy.freeze_reference()
        metrics = super().update(scored)
        self.update_beta2(metrics, collate(scored))
        return metrics | ({"beta2": self.beta2_now} if self.adaptive_beta2 else {})

    def update_beta2(self, learned: dict[str, float], batch: Batch) -> None:
        """Update beta2 in Stage I, so that the two terms of its objective have similar sizes.

        beta2 becomes mean |A| / KL, limited to the range from ``beta2`` to 100 ``beta2``. A is the advantage of the
        target turn. KL is the sum over all turns before the target turn.

        Args:
            learned: The metrics of the optimizer steps, with the KL of each turn.
            batch: The episodes of the iteration.
        """
        if not self.adaptive_beta2 or self.target is None:
            return
        kl_before = sum(learned.get(f"kl_t{k + 1}", 0.0) for k in range(self.target))
        if kl_before > 0:
            signal = float(self.advantage(batch)[:, self.target].abs().mean())
            self.beta2_now = max(self.beta2, min(signal / kl_before, 100 * self.beta2))

    def extra_state(self) -> dict[str, Any]:
        """Return the current value of beta2."""
        return {"beta2_now": self.beta2_now}

    def load_extra_state(self, memory: dict[str, Any]) -> None:
        """Restore the current value of beta2."""
        self.beta2_now = memory["beta2_now"]
