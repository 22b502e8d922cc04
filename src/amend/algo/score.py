"""SCoRe: self-correction via reinforcement learning (Kumar et al. 2024, arXiv 2409.12917).

Ask a model again and it makes its answer worse; train it on both attempts at once and it learns one good answer, twice.
SCoRe decouples the two. x1 is the problem, y1 the first attempt, x2 = [x1, y1, instruction], y2 the second; r is 1 for
a right answer and 0 otherwise; pi_ref is the base model.

    Stage I  (Eq. 3)   max E[ r(y2) - beta2 KL(pi(.|x1) || pi_ref(.|x1)) - beta1 KL(pi(.|x2) || pi_ref(.|x2)) ]
        learn to correct while the first attempt is held where it was: turn 1 is paid nothing
    Stage II (Eq. 4)   max E[ sum_i r(y_i) - beta1 KL(pi(.|x_i) || pi_ref(.|x_i)) ],  and the second attempt's r(y2)
        becomes r(y2) + alpha (r(y2) - r(y1)): the bonus pays for having changed a wrong answer into a right one

Credit stays in its turn (gamma = 0): turn 1 is paid r(y1) and never the bonus, which for alpha > 1 would pay it for
starting wrong. With more than two turns Stage I has one part a turn: I(a) trains the second attempt with the first
held, I(b) the third with both before it held, and so on (ICLR version, Appendix A).

Each ablation of the paper's Table 4 is a value of a knob: turns=1, stage1_rounds=0, alpha=0, stage2=star, and
prefill=base_attempt (first attempts of the base model's, section 5.3).
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
from amend.ops.advantages import batch_mean, broadcast_to_tokens, leave_one_out, returns, shaping_bonus
from amend.ops.logprobs import TokenLogprobs
from amend.types import Scored
from amend.value_types import Fraction, Natural, NonNegative


class SCoRe(Algorithm):
    """Two-stage multi-turn REINFORCE with a progress bonus.

    alpha, beta1, beta2, gamma: as above; gamma > 0 lets a turn answer for later ones
    stage1_rounds:  rounds of each part of Stage I; the rest of ``rounds`` are Stage II
    baseline:       what is expected of an episode: nothing, the batch's mean, the mean of the problem's other episodes,
                    or the same with what is known when the turn begins (alpha r1, for turn 2) counted as expected
    kl:             exact over the vocabulary; k2; or k1 inside the reward, summed to the end of the turn
    reference:      what later stages are held to: the base model, or the model the stage before ended with
    adaptive_beta2: let beta2 follow the size of the objective it is weighed against (never below ``beta2``)
    stage2:         reinforce; or star, which in Stage II imitates the episodes that ended right and has no other signal
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
        """The turn that this part of Stage I trains (counted from 0), or None in Stage II."""
        part = self.iteration // self.stage1_iterations if self.stage1_iterations else self.turns
        return part + 1 if part + 1 < self.turns else None

    @property
    def stage(self) -> str:
        """I or II; with more than two turns, I(a), I(b), ..."""
        if self.target is None:
            return "II"
        return "I" if self.turns == 2 else f"I({'abcdefghi'[self.target - 1]})"

    def is_final_stage(self) -> bool:
        """Return whether this is Stage II."""
        return self.target is None

    def pay(self, reward: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """What each turn is paid: in Stage I only the target's own reward, in Stage II every turn's, with the bonus."""
        if self.target is None:
            return shaping_bonus(reward, self.shaping_coef)
        paid = torch.zeros_like(reward)
        paid[:, self.target] = reward[:, self.target]
        return paid

    def expected(self, pay: Float[Tensor, "b k"], batch: Batch) -> Float[Tensor, "b k"]:
        """The baseline of each turn's return. None of them depends on what was drawn in the turn it is held against."""
        if self.baseline == "none":
            return torch.zeros_like(pay)
        if self.baseline == "batch":
            return batch_mean(pay)
        known = torch.zeros_like(pay)
        if self.baseline == "context" and self.target is None and self.gamma == 0:
            known[:, 1:] = -self.shaping_coef * batch.reward[:, :-1]  # the bonus's second half was settled a turn ago
        return known + leave_one_out(pay - known, batch.group_id)

    def betas(self, batch: Batch) -> Float[Tensor, "b t"]:
        """How strongly each token is held to the reference: beta2 before Stage I's target, beta1 everywhere else."""
        held = torch.full(batch.turn.shape, self.beta1, device=batch.turn.device)
        if self.target is not None:
            held[batch.turn < self.target] = self.beta2_now
        return held

    def advantage(self, batch: Batch) -> Float[Tensor, "b k"]:
        """Each turn's return over its baseline; for STaR, 1 on both turns of an episode that ended right, else 0."""
        if self.target is None and self.stage2 == "star":
            return (batch.reward[:, -1:] > 0).to(batch.reward.dtype).expand_as(batch.reward)
        pay = returns(self.pay(batch.reward), self.gamma)
        return pay - self.expected(pay, batch)

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """The turn's advantage on each of its tokens."""
        advantages = broadcast_to_tokens(self.advantage(batch), batch.turn, batch.loss_mask)
        if self.kl == "k1_in_reward":
            advantages = advantages - self._kl_to_go(batch)
        return advantages

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """REINFORCE, and the KL that is a loss."""
        loss = policy_loss.reinforce_loss(out.logp, advantages)
        if self.kl == "exact" and self.loss_uses_reference():
            loss = loss + self.betas(batch) * out.kl
        elif self.kl == "k2" and self.loss_uses_reference():
            loss = loss + self.betas(batch) * kl.k2(out.logp, out.ref_logp)
        return loss

    def _kl_to_go(self, batch: Batch) -> Float[Tensor, "b t"]:
        """beta (log pi - log pi_ref) summed from each token to the end of its own turn: its share of the KL."""
        cost = self.betas(batch) * kl.k1(batch.old_logprobs, batch.ref_logp)
        total = torch.zeros_like(cost)
        for k in range(self.turns):
            here = torch.where(batch.loss_mask & (batch.turn == k), cost, 0.0)
            total += torch.where(batch.turn == k, here.flip(1).cumsum(1).flip(1), 0.0)
        return torch.where(batch.loss_mask, total, 0.0)

    def loss_uses_reference(self) -> bool:
        """The reference is read whenever anything is held to it."""
        return self.beta1 > 0 or (self.target is not None and self.beta2_now > 0)

    def reward_uses_reference(self) -> bool:
        """Only k1 stands inside the reward."""
        return self.kl == "k1_in_reward"

    def update(self, scored: list[Scored]) -> dict[str, float]:
        """One round's update; then beta2 follows, and at a stage's first round the reference may move."""
        if self.target is None and self.stage2 == "star":
            scored = [
                replace(one, reward=tuple(float(right) for right in one.correct)) for one in scored if not one.failed
            ]
        first = self.iteration > 0 and self.stage1_iterations > 0 and self.iteration % self.stage1_iterations == 0
        if first and self.iteration <= self.stage1_iterations * (self.turns - 1) and self.anchor == "previous":
            self.policy.freeze_reference()
        learned = super().update(scored)
        self.next_message(learned, collate(scored))
        return learned | ({"beta2": self.beta2_now} if self.adaptive_beta2 else {})

    def next_message(self, learned: dict[str, float], batch: Batch) -> None:
        """Let beta2 balance Stage I's two terms: the size of the advantage it learns from, and the KL of what it holds
        (all turns before the target)."""
        if not self.adaptive_beta2 or self.target is None:
            return
        held = sum(learned.get(f"kl_t{k + 1}", 0.0) for k in range(self.target))
        if held > 0:
            signal = float(self.advantage(batch)[:, self.target].abs().mean())
            self.beta2_now = max(self.beta2, min(signal / held, 100 * self.beta2))

    def extra_state(self) -> dict[str, Any]:
        """The beta2 that was reached."""
        return {"beta2_now": self.beta2_now}

    def load_extra_state(self, memory: dict[str, Any]) -> None:
        """Back to it."""
        self.beta2_now = memory["beta2_now"]
