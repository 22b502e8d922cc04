"""What every algorithm shares: one training step is one round, and a round is play, score, improve.

    play      n episodes of each of p problems, drawn from the policy as it stands
    score     one reward a turn
    improve   credit (how much better each token was than expected), then a weighted sum of losses at each token,
              ``updates`` optimizer steps a round

An algorithm is handed ``play`` and ``score`` and says only what is its own: ``credit`` and ``loss``, and perhaps the
weights of tokens. One whose objective is no sum over tokens overrides ``improve``. Nothing here depends on how a
minibatch is cut into micro-batches: weights are taken over the whole of it first, and losses summed after.

Everything random in a round is a function of (seed, round): a resumed run draws what it would have drawn.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytorch_lightning as pl
import torch
from jaxtyping import Float
from torch import Tensor

from amend.batch import Batch, collate, micro_batches
from amend.bounds import Count, NonNegative, Positive
from amend.errors import UserError
from amend.ops import reduce
from amend.ops.likelihood import Likelihood, measured
from amend.types import Episode, Problem, Sampling, Scored

if TYPE_CHECKING:  # an algorithm is handed these; it may look at their shape, and never imports them
    from amend.policy.model import Policy
    from amend.rollout.play import Play

Score = Callable[[Sequence[Episode]], list[Scored]]


class Algorithm(pl.LightningModule, ABC):
    """The loop of one learner.

    rounds:      how many; a round plays ``problems`` x ``samples`` episodes of ``turns`` turns each
    temperature: of the sampling policy, and so of the policy that is trained
    max_tokens:  longest reply, end token included
    lr:          of Adam; decay: none, or linear from ``lr`` in the first round to nothing after the last
    clip_norm:   largest gradient norm; updates: optimizer steps a round, over disjoint minibatches
    """

    def __init__(
        self,
        policy: Policy,
        play: Play,
        score: Score,
        seed: int,
        *,
        rounds: Count,
        problems: Count,
        samples: Count,
        turns: Count,
        temperature: Positive,
        max_tokens: Count,
        lr: NonNegative,
        decay: Literal["none", "linear"],
        clip_norm: Positive,
        updates: Count,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.policy, self.play, self.score, self.seed = policy, play, score, seed
        self.rounds, self.problems, self.samples, self.turns = rounds, problems, samples, turns
        self.how = Sampling(temperature=temperature, max_tokens=max_tokens)
        self.lr, self.decay, self.clip_norm, self.updates = lr, decay, clip_norm, updates
        self.round = 0  # rounds finished; the clock that everything is derived from
        self.spent = {"sampled_tokens": 0, "episodes": 0, "updates": 0}
        self.scored: list[Scored] = []  # the last round's episodes
        self.record: dict[str, Any] = {}  # and what it measured
        self.timing: dict[str, float] = {}

    @abstractmethod
    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """How much better each token was than expected; 0 where nothing was sampled."""

    @abstractmethod
    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """The objective at each token, to be minimised."""

    def weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """What each token counts for: here, sums over an episode, means over episodes."""
        return reduce.episode(batch.sampled)

    @property
    def stage(self) -> str:
        """The stage of the round that is being played, for algorithms that have stages."""
        return ""

    def needs_reference(self) -> bool:
        """Whether ``loss`` reads ``out.ref_logp`` or ``out.kl``."""
        return False

    def pays_reference(self) -> bool:
        """Whether ``credit`` reads ``batch.ref_logp``."""
        return False

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """The episodes of this round."""
        return self.play(problems, self.samples, self.turns, self.how, (self.seed, self.round))

    def training_step(self, problems: list[Problem], batch_idx: int) -> None:
        """One round."""
        began = time.perf_counter()
        scored, stage = self.score(self.episodes(problems)), self.stage
        played = time.perf_counter()
        batch = collate(scored).to(self.device)
        learned = self.improve(batch)
        self.play.sync()  # the weights have changed
        self.timing = {"rollout_seconds": played - began, "update_seconds": time.perf_counter() - played}
        self.scored, self.round = scored, self.round + 1
        self.spent["episodes"] += len(scored)
        self.spent["sampled_tokens"] += int(batch.sampled.sum())
        self.record = {"round": self.round, "stage": stage, **learned, **self.spent}

    def improve(self, batch: Batch) -> dict[str, float]:
        """``updates`` optimizer steps over disjoint parts of the batch; what they measured, averaged over tokens."""
        if self.pays_reference():
            batch = replace(batch, ref_logp=self.policy.reference(batch.tokens, batch.sampled, self.how.temperature))
        credit = self.credit(batch)
        optimizer = self.optimizers()
        assert isinstance(optimizer, torch.optim.Optimizer | pl.core.optimizer.LightningOptimizer)
        for group in optimizer.param_groups:
            group["lr"] = self.rate()
        seen: list[dict[str, float]] = []
        for part in self._parts(len(batch)):
            optimizer.zero_grad()
            seen.append(self._accumulate(batch.rows(part), credit[part]))
            norm = torch.nn.utils.clip_grad_norm_(self.policy.lm.parameters(), self.clip_norm)
            if not bool(torch.isfinite(norm)):
                raise UserError(
                    f"round {self.round + 1}: the gradient is not finite and nothing was changed; go on from the last "
                    f"checkpoint with algo.lr below {self.lr}, or look closer with debug=exact"
                )
            optimizer.step()
            self.spent["updates"] += 1
            seen[-1]["grad_norm"] = float(norm)
        return {key: sum(one[key] for one in seen) / len(seen) for key in seen[0]}

    def rate(self) -> float:
        """This round's learning rate; a function of the round alone, so a resumed run needs no scheduler."""
        return self.lr * (1 - self.round / self.rounds) if self.decay == "linear" else self.lr

    def _accumulate(self, batch: Batch, credit: Tensor) -> dict[str, float]:
        """Gradients of the whole minibatch, a micro-batch at a time, and its measurements."""
        weights = self.weights(batch)
        drawn = max(int(batch.sampled.sum()), 1)
        totals: dict[str, float] = {}
        for rows in micro_batches(batch, self.policy.micro_tokens):
            micro = batch.rows(rows)
            t = micro.tokens.shape[1]
            out = self.policy(micro.tokens, micro.sampled, self.how.temperature, reference=self.needs_reference())
            loss = (self.loss(micro, credit[rows, :t], out) * weights[rows, :t]).sum()
            if loss.requires_grad:
                self.manual_backward(loss)
            sums = measured(out, micro.sampled, micro.turn, micro.logp) | {"loss": loss.item() * drawn}
            for key, value in sums.items():
                totals[key] = totals.get(key, 0.0) + value
        per_episode = {key: value / len(batch) for key, value in totals.items() if key.startswith("kl_")}
        return {key: value / drawn for key, value in totals.items()} | per_episode

    def _parts(self, count: int) -> Sequence[Tensor]:
        """The round's episodes in ``updates`` disjoint parts, shuffled by (seed, round) where there are several."""
        generator = torch.Generator().manual_seed(hash((self.seed, self.round)) % 2**63)
        order = torch.arange(count) if self.updates == 1 else torch.randperm(count, generator=generator)
        return order.to(self.device).chunk(self.updates)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as both papers use, over the policy's own weights."""
        return torch.optim.Adam(self.policy.lm.parameters(), lr=self.lr)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Problems are words and stay where they are."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The clock and the bill; all else is weights and optimizer state, or derived."""
        checkpoint["amend"] = {"round": self.round, "spent": dict(self.spent), **self.memory()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Back to the moment of ``on_save_checkpoint``."""
        kept = dict(checkpoint["amend"])
        self.round, self.spent = kept.pop("round"), kept.pop("spent")
        self.recall(kept)

    def memory(self) -> dict[str, Any]:
        """What an algorithm itself carries from round to round, in plain values; most carry nothing."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """The inverse of ``memory``."""
