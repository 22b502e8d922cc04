"""DPO: direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290), and its relatives, on own samples.

    h = log pi(y_w | x) / pi_ref(y_w | x)  -  log pi(y_l | x) / pi_ref(y_l | x)

    sigmoid   - log sigmoid(beta h)
    hinge     max(0, 1 - beta h)                             (Zhao et al. 2023)
    ipo       (h - 1 / (2 beta))^2,  h a mean over tokens    (Azar et al. 2023; per token, as TRL has it)
    + nll  x  - log pi(y_w | x) / |y_w|                      Iterative RPO (Pang et al. 2024)

y_w is a right reply and y_l a wrong one to the same context: to the problem, or (``pairs=corrections``) to the same
first attempt. iterations=1 learns offline, from the base model's pairs; more, with begin=last, learns from its own.
pi_ref is the run's base model throughout (Iterative RPO takes each iteration's first model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from amend.algo.context import AlgorithmContext
from amend.algo.gradient_update import seeded_generator
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one, last_turn_only
from amend.batch import Batch, collate
from amend.distributed import collectives
from amend.types import Episode, Problem, Scored, Tokens
from amend.value_types import Count, NonNegative, Positive


class DPO(Imitation):
    """form, beta, nll, pairs: as above; cap: at most so many pairs of one context."""

    compares_group = True  # it pairs episodes of one problem
    turns_by = ("pairs", {"attempts": 1, "corrections": 2})
    one_first_attempt = True  # corrections of a problem share one first attempt
    has_token_loss = False  # the loss is of a pair

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        loss_type: Literal["sigmoid", "hinge", "ipo"],
        beta: Positive,
        rpo_alpha: NonNegative,
        pairs: Literal["attempts", "corrections"],
        max_per_problem: Count,
        **imitation: Unpack[ImitationConfig],
    ) -> None:
        super().__init__(context, **imitation)
        self.loss_type, self.beta, self.rpo_alpha, self.pairs, self.max_per_problem = (
            loss_type,
            beta,
            rpo_alpha,
            pairs,
            max_per_problem,
        )
        self.data_name = "pairs"

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """Attempts; or one first attempt of each problem, and corrections of it."""
        sampling_params, seed = self.sampling_params(), (self.seed, self.iteration)
        if self.pairs == "attempts":
            return self.runner(problems, self.group_size, sampling_params[:1], seed, self.exploration.prefill)
        first = self.runner(problems, 1, sampling_params[:1], seed, self.exploration.prefill)
        begun = [replace(e, sample=i) for e in first for i in range(self.group_size)]
        return self.runner.continue_episodes(begun, sampling_params[1:2], seed)

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Pairs, side by side: a right one, then a wrong one."""
        draw, kept = seeded_generator(self.seed, self.iteration), []
        for some in contexts(scored):
            right = [one for one in some if one.correct[-1]]
            wrong = [one for one in some if not one.correct[-1]]
            count = min(self.max_per_problem, len(right), len(wrong))
            for i, j in zip(
                torch.randperm(len(right), generator=draw)[:count].tolist(),
                torch.randperm(len(wrong), generator=draw)[:count].tolist(),
                strict=True,
            ):
                kept += [at_temperature_one(last_turn_only(right[i])), at_temperature_one(last_turn_only(wrong[j]))]
        return kept

    def fit(self, traces: list[Scored]) -> dict[str, float]:
        """The data as pairs, and some epochs over them."""
        self.data = [
            {
                "prompt": (said := self.runner.conversation(chosen.episode))[:-1],
                "chosen": said[-1:],
                "rejected": self.runner.conversation(rejected.episode)[-1:],
            }
            for chosen, rejected in zip(traces[::2], traces[1::2], strict=True)
        ]
        batch = collate(traces).to(self.device)
        return self.optimize(batch, self.update_epochs, min(self.num_minibatches, len(batch) // 2), (0.0, 1.0))

    def minibatches(self, batch: Batch, count: int, epoch: int) -> Sequence[Tensor]:
        """Pairs stay together."""
        order = torch.randperm(len(batch) // 2, generator=seeded_generator(self.seed, self.iteration, epoch))
        rows = torch.stack([2 * order, 2 * order + 1], dim=1).to(self.device)
        return [part.flatten() for part in rows.tensor_split(count)]

    def loss_uses_reference(self) -> bool:
        """h is measured from it."""
        return True

    def accumulate(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> dict[str, float]:
        """Gradients of this process's pairs of a minibatch, some at a time, and how well they are told apart."""
        pairs = len(batch) // 2
        length = (batch.turn >= 0).sum(dim=1).view(-1, 2).amax(dim=1)
        totals = {"loss": 0.0, "rewards/margins": 0.0, "rewards/accuracies": 0.0}
        rows = max(1, self.policy.max_tokens_per_micro_batch // (2 * int(length.max())))
        for some, counts in collectives.shard_batches(
            torch.arange(pairs, device=self.device), lambda hand: hand.split(rows)
        ):
            micro = batch.rows(torch.stack([2 * some, 2 * some + 1], dim=1).flatten())
            out = self.policy(micro.tokens, micro.loss_mask, micro.temperature, reference=True)
            loss, margin = self.preference(out.logp, out.ref_logp, micro.loss_mask)
            if (total := loss.sum() / pairs * counts).requires_grad:
                total.backward()
            totals["loss"] += total.item()
            totals["rewards/margins"] += float(margin.detach().sum()) / pairs * counts
            totals["rewards/accuracies"] += float((margin > 0).sum()) / pairs * counts
        return totals

    def preference(self, logp: Tensor, ref_logp: Tensor, loss_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and beta h of each pair, [pairs], from rows that alternate between right and wrong."""
        length = loss_mask.sum(dim=1).clamp(min=1)
        said, before = logp.sum(dim=1), ref_logp.sum(dim=1)
        ratio = (said - before) / length if self.loss_type == "ipo" else said - before
        h = ratio[0::2] - ratio[1::2]
        if self.loss_type == "sigmoid":
            loss = -nn.functional.logsigmoid(self.beta * h)
        elif self.loss_type == "hinge":
            loss = torch.relu(1 - self.beta * h)
        else:
            loss = (h - 1 / (2 * self.beta)).square()
        return loss - self.rpo_alpha * (said / length)[0::2], self.beta * h


def contexts(scored: list[Scored]) -> list[list[Scored]]:
    """The episodes whose last reply answers the very same tokens; what was begun for the policy is among them."""
    found: dict[tuple[str, Tokens], list[Scored]] = {}
    for one in scored:
        found.setdefault((one.episode.problem.id, one.episode.turns[-1].prompt), []).append(one)
    return list(found.values())
