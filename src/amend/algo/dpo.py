"""Train with DPO, direct preference optimization, on samples of the policy (Rafailov et al. 2023, arXiv 2305.18290).

    h = log pi(y_w | x) / pi_ref(y_w | x)  -  log pi(y_l | x) / pi_ref(y_l | x)

    sigmoid   - log sigmoid(beta h)
    hinge     max(0, 1 - beta h)                             Zhao et al. 2023
    ipo       (h - 1 / (2 beta))^2,  h a mean over tokens    Azar et al. 2023; the mean is TRL's form
    + rpo_alpha x  - log pi(y_w | x) / |y_w|                 Iterative RPO (Pang et al. 2024)

y_w is a right reply and y_l a wrong reply to the same context x. With ``pairs=attempts``, x is the problem. With
``pairs=corrections``, x also contains the first attempt, which both replies share.

With ``iterations=1``, DPO is offline: all pairs are samples of the base model. With more iterations and
``init_from=last``, later pairs are samples of the policy. pi_ref is always the base model of the run, but Iterative RPO
uses the initial model of each iteration.
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
    """An imitation algorithm that fits the policy to pairs of a right and a wrong reply with a preference loss.

    Args:
        context: The context of the run.
        loss_type: The loss of a pair, as above.
        beta: The coefficient beta of the loss. A larger value keeps the policy closer to the reference model.
        rpo_alpha: The weight of the right reply's mean negative log-probability; 1 in Iterative RPO.
        pairs: The replies of a pair: first attempts at a problem, or second attempts after the same first attempt.
        max_per_problem: The maximum number of pairs of one context.
        **imitation: The keys of ``ImitationConfig``.
    """

    compares_group = True  # it pairs episodes of one problem
    turns_by = ("pairs", {"attempts": 1, "corrections": 2})
    one_first_attempt = True  # corrections of a problem share one first attempt
    has_token_loss = False  # the loss belongs to a pair

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
        """Sample first attempts, or one first attempt per problem and ``group_size`` corrections of this attempt."""
        sampling_params, seed = self.sampling_params(), (self.seed, self.iteration)
        if self.pairs == "attempts":
            return self.runner(problems, self.group_size, sampling_params[:1], seed, self.exploration.prefill)
        first = self.runner(problems, 1, sampling_params[:1], seed, self.exploration.prefill)
        copies = [replace(episode, sample=i) for episode in first for i in range(self.group_size)]
        return self.runner.continue_episodes(copies, sampling_params[1:2], seed)

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Select random pairs of each context. No reply is in two pairs.

        Args:
            scored: The episodes of the iteration.

        Returns:
            The traces of all pairs. Each right trace is followed by the wrong trace of its pair.
        """
        generator, traces = seeded_generator(self.seed, self.iteration), []
        for episodes in contexts(scored):
            right = [episode for episode in episodes if episode.correct[-1]]
            wrong = [episode for episode in episodes if not episode.correct[-1]]
            count = min(self.max_per_problem, len(right), len(wrong))
            for i, j in zip(
                torch.randperm(len(right), generator=generator)[:count].tolist(),
                torch.randperm(len(wrong), generator=generator)[:count].tolist(),
                strict=True,
            ):
                traces += [at_temperature_one(last_turn_only(right[i])), at_temperature_one(last_turn_only(wrong[j]))]
        return traces

    def fit(self, traces: list[Scored]) -> dict[str, float]:
        """Train on the pairs, and set ``data`` to the pairs in TRL's preference format.

        Args:
            traces: The data set of the fit. Each right trace is followed by the wrong trace of its pair.

        Returns:
            The metrics of the fit, averaged over its optimizer steps.
        """
        self.data = [
            {
                "prompt": (messages := self.runner.conversation(chosen.episode))[:-1],
                "chosen": messages[-1:],
                "rejected": self.runner.conversation(rejected.episode)[-1:],
            }
            for chosen, rejected in zip(traces[::2], traces[1::2], strict=True)
        ]
        batch = collate(traces).to(self.device)
        return self.optimize(batch, self.update_epochs, min(self.num_minibatches, len(batch) // 2), (0.0, 1.0))

    def minibatches(self, batch: Batch, count: int, epoch: int) -> Sequence[Tensor]:
        """Divide the pairs into disjoint, shuffled minibatches. Both rows of a pair are in the same minibatch."""
        order = torch.randperm(len(batch) // 2, generator=seeded_generator(self.seed, self.iteration, epoch))
        rows = torch.stack([2 * order, 2 * order + 1], dim=1).to(self.device)
        return [part.flatten() for part in rows.tensor_split(count)]

    def loss_uses_reference(self) -> bool:
        """Return True, because h is a log-ratio to the reference model."""
        return True

    def accumulate(self, batch: Batch, advantages: Float[Tensor, "b t"]) -> dict[str, float]:
        """Accumulate the gradients of this rank's pairs of a minibatch, one micro-batch after another.

        Args:
            batch: The whole minibatch, in which rows 2 i and 2 i + 1 are a pair.
            advantages: Not used.

        Returns:
            This rank's part of each metric: the loss, the margin beta h, and the share of pairs with h > 0.
        """
        pairs = len(batch) // 2
        length = (batch.turn >= 0).sum(dim=1).view(-1, 2).amax(dim=1)
        totals = {"loss": 0.0, "rewards/margins": 0.0, "rewards/accuracies": 0.0}
        rows = max(1, self.policy.max_tokens_per_micro_batch // (2 * int(length.max())))
        for index, counts in collectives.shard_batches(
            torch.arange(pairs, device=self.device), lambda shard: shard.split(rows)
        ):
            micro = batch.rows(torch.stack([2 * index, 2 * index + 1], dim=1).flatten())
            out = self.policy(micro.tokens, micro.loss_mask, micro.temperature, reference=True)
            loss, margin = self.preference(out.logp, out.ref_logp, micro.loss_mask)
            if (total := loss.sum() / pairs * counts).requires_grad:
                total.backward()
            totals["loss"] += total.item()
            totals["rewards/margins"] += float(margin.detach().sum()) / pairs * counts
            totals["rewards/accuracies"] += float((margin > 0).sum()) / pairs * counts
        return totals

    def preference(self, logp: Tensor, ref_logp: Tensor, loss_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the loss and the margin beta h of each pair.

        Args:
            logp: The log-probabilities under the policy, [2 pairs, t]. Right and wrong replies alternate.
            ref_logp: The log-probabilities under the reference model, [2 pairs, t].
            loss_mask: True for the tokens of the replies, [2 pairs, t]. Both log-probabilities are 0 elsewhere.

        Returns:
            The loss and the margin, [pairs] each.
        """
        length = loss_mask.sum(dim=1).clamp(min=1)
        total, ref_total = logp.sum(dim=1), ref_logp.sum(dim=1)
        ratio = (total - ref_total) / length if self.loss_type == "ipo" else total - ref_total
        h = ratio[0::2] - ratio[1::2]
        if self.loss_type == "sigmoid":
            loss = -nn.functional.logsigmoid(self.beta * h)
        elif self.loss_type == "hinge":
            loss = torch.relu(1 - self.beta * h)
        else:
            loss = (h - 1 / (2 * self.beta)).square()
        return loss - self.rpo_alpha * (total / length)[0::2], self.beta * h


def contexts(scored: list[Scored]) -> list[list[Scored]]:
    """Group the episodes by problem and by the prompt tokens of their last reply, which include a prefill."""
    groups: dict[tuple[str, Tokens], list[Scored]] = {}
    for trace in scored:
        groups.setdefault((trace.episode.problem.id, trace.episode.turns[-1].prompt), []).append(trace)
    return list(groups.values())
