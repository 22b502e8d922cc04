"""What every algorithm shares: one training step is one round, and a round is play, score, improve.

    play      n episodes of each of p problems, drawn from the policy as it stands
    score     one reward a turn
    improve   credit (how much better each token was than expected), then a weighted sum of losses at each token

An algorithm is handed ``play``, ``score`` and ``explore`` and says only what is its own: ``credit`` and ``loss``, and
perhaps the weights of tokens (``descent`` turns them into an update). One that builds a data set before it learns
overrides ``improve``. Everything random in a round is a function of (seed, round): a resumed run draws what it would
have drawn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from amend.algo.descent import Descent
from amend.batch import Batch, collate
from amend.bounds import Count, Natural
from amend.ops import surrogate
from amend.types import Budget, Episode, Problem, Sampling, Scored

if TYPE_CHECKING:  # an algorithm is handed these; it may look at their shape, and never imports them
    from amend.explore import Explore
    from amend.policy.model import Policy
    from amend.rollout.play import Play

Score = Callable[[Sequence[Episode]], list[Scored]]


class Algorithm(Descent):
    """The loop of one learner.

    rounds:     at most so many; ``budget`` may end the run before. A round plays ``problems`` x ``samples`` episodes
                of ``turns`` turns each, of replies of at most ``max_tokens`` tokens, the end token included
                ``descent``: how an update is made, see there
    """

    online = True  # whether a round's reward is that of about the weights it leaves, and so can choose among them

    def __init__(
        self,
        policy: Policy,
        play: Play,
        score: Score,
        explore: Explore,
        budget: Budget,
        seed: int,
        *,
        rounds: Natural,
        problems: Count,
        samples: Count,
        turns: Count,
        max_tokens: Count,
        **descent: Any,
    ) -> None:
        super().__init__(policy, explore, seed, **descent)
        self.play, self.score, self.budget, self.max_tokens = play, score, budget, max_tokens
        self.rounds, self.problems, self.samples, self.turns = rounds, problems, samples, turns
        self.began = 0.0  # ``done`` when this round began
        self.picks: list[int] = []  # which training problems this round has
        self.scored: list[Scored] = []  # the last round's episodes
        self.data: list[dict[str, Any]] = []  # what this round built to learn from, in one of TRL's dataset formats
        self.data_name = "traces"  # and the file it goes to
        self.record: dict[str, Any] = {}  # and what it measured
        self.timing: dict[str, float] = {}

    @property
    def stage(self) -> str:
        """The stage of the round that is being played, for algorithms that have stages."""
        return ""

    @property
    def done(self) -> float:
        """The share of the run that is over: of its rounds or of its budget, whichever will end it first."""
        return min(1.0, max(self.round / max(self.rounds, 1), self.budget.share(self.spent)))

    def ends(self, parts: int) -> bool:
        """Whether this round is the last of one of ``parts`` equal parts of the run; asked while it improves."""
        after = max((self.round + 1) / max(self.rounds, 1), self.budget.share(self.spent))
        return int(min(after, 1.0) * parts + 1e-9) > int(self.began * parts + 1e-9)

    def how(self) -> list[Sampling]:
        """How this round draws each turn."""
        return [Sampling(self.explore.temperature(k, self.done), self.max_tokens) for k in range(self.turns)]

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """The episodes of this round."""
        return self.play(problems, self.samples, self.how(), (self.seed, self.round), self.explore.start)

    def attempt(
        self, problems: Sequence[Problem], samples: int, how: Sequence[Sampling], seed: tuple[int, ...]
    ) -> list[Episode]:
        """How the learner answers when it is evaluated: as it was asked in training, unless a method says otherwise."""
        return self.play(problems, samples, how, seed)

    def training_step(self, problems: list[Problem], batch_idx: int) -> None:
        """One round."""
        began, drawn, stage = time.perf_counter(), self.play.sampled_tokens, self.stage
        self.began, self.data = self.done, []
        scored = self.score(self.episodes(problems))
        played = time.perf_counter()
        self.spent["episodes"] += len(scored)
        self.spent["sampled_tokens"] += self.play.sampled_tokens - drawn
        learned = self.improve(scored)
        self.play.sync()  # the weights have changed
        self.timing = {"rollout_seconds": played - began, "update_seconds": time.perf_counter() - played}
        solved = np.array([s.reward[-1] for s in scored]).reshape(len(problems), -1)
        self.explore.curriculum.observe(self.picks, solved)
        self.explore.start.observe(scored)
        self.scored, self.round = scored, self.round + 1
        self.record = {"round": self.round, "stage": stage, "done": self.done, **learned, **self.spent}

    def improve(self, scored: list[Scored]) -> dict[str, float]:
        """Learn from a round; what the updates measured, averaged over tokens."""
        return self.learn(self.gathered(scored), self.epochs, self.updates, (self.began, self.began))

    def gathered(self, scored: list[Scored]) -> Batch:
        """A round's episodes side by side. Where the engine does not compute as the trainer does, the trainer's own
        log-probabilities stand in the place of the engine's, which give each token a weight: what then moves in several
        updates of one round is measured from the policy that began it."""
        batch, cap = collate(scored).to(self.device), self.play.importance_cap
        if cap is None:
            return batch
        own = self.read(batch, lambda micro: self.policy.logp(micro.tokens, micro.sampled, micro.temperature))
        weight = surrogate.truncated(own, batch.logp, cap)
        return replace(batch, logp=own, more={"engine": batch.logp, "importance": weight})

    def configure_model(self) -> None:
        """Where the policy's weights are divided among processes, so is what a learner trains beside it."""
        for beside in self.children():
            if beside is not self.policy:
                self.policy.divide_beside(beside)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Problems are words and stay where they are."""
        return batch

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The clock, the bill, and what is remembered; all else is weights and optimizer state, or derived."""
        explored = [self.explore.curriculum.memory(), self.explore.start.memory()]
        checkpoint["amend"] = {"round": self.round, "spent": dict(self.spent), "explored": explored, **self.memory()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Back to the moment of ``on_save_checkpoint``."""
        kept = dict(checkpoint["amend"])
        self.round, self.spent = kept.pop("round"), kept.pop("spent")
        curriculum, start = kept.pop("explored")
        self.explore.curriculum.recall(curriculum)
        self.explore.start.recall(start)
        self.recall(kept)

    def memory(self) -> dict[str, Any]:
        """What an algorithm itself carries from round to round, in plain values; most carry nothing."""
        return {}

    def recall(self, memory: dict[str, Any]) -> None:
        """The inverse of ``memory``."""
