"""Learning by imitation, in iterations: gather traces, fit the model to them, gather with the fitted model.

    D_i = traces selected from samples of pi_(i-1)   (united with D_(i-1) where ``union``)
    pi_i = argmin  - E_(x, y in D_i)  log pi(y | x),   from the base model where ``begin`` is base

A round only gathers; at the end of each of ``iterations`` equal parts of the run the model is fitted. What separates
expert iteration, STaR, Pair-SFT, return-conditioned RL and plain fine-tuning is which traces they keep: ``select``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch, collate
from amend.bounds import Count
from amend.ops import reduce
from amend.ops.likelihood import Likelihood
from amend.types import Completion, Episode, Problem, Scored, Turn


class Imitation(Algorithm):
    """Gather, select, fit.

    iterations: how often the model is fitted
    begin:      what each fit begins with: the base model, or the last fit
    union:      whether an iteration also has the traces of those before it
                ``updates`` are the steps of a pass over the traces, ``epochs`` the passes of a fit
    """

    online = False  # what a fit leaves has not sampled yet: no reward of this run speaks of it

    def __init__(
        self, *house: Any, iterations: Count, begin: Literal["base", "last"], union: bool, **loop: Any
    ) -> None:
        super().__init__(*house, **loop)
        self.iterations, self.begin, self.union = iterations, begin, union
        self.kept: list[Scored] = []

    @abstractmethod
    def select(self, scored: list[Scored]) -> list[Scored]:
        """The traces to learn from that this round gives."""

    def kept_of(self, traces: list[Scored]) -> list[Scored]:
        """What a fit sees of all traces gathered; here, all of them."""
        return traces

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Every token of a kept trace counts alike."""
        return batch.sampled.to(batch.logp.dtype)

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """Cross-entropy."""
        return -credit * out.logp

    def weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """One mean over all tokens that are imitated."""
        return reduce.token(batch.sampled)

    def improve(self, scored: list[Scored]) -> dict[str, float]:
        """Gather; at the end of an iteration, fit."""
        judged = [one for one in scored if not one.failed]  # nobody knows whether the others are right
        self.kept = self.kept_of(self.kept + self.select(judged))
        learned = {"kept": float(len(self.kept))}
        if self.ends(self.iterations) and self.kept:
            if self.begin == "base":
                self.restart()
            self.data = [self.row(trace) for trace in self.kept]
            learned |= self.fit(self.kept)
            self.kept = self.kept if self.union else []
        return learned

    def fit(self, traces: list[Scored]) -> dict[str, float]:
        """Some epochs over the traces."""
        batch = collate(traces).to(self.device)
        return self.learn(batch, self.epochs, min(self.updates, len(batch)), (0.0, 1.0))

    def row(self, trace: Scored) -> dict[str, Any]:
        """The trace in TRL's conversational prompt-completion format (its messages alone, where several are learnt)."""
        messages = self.play.conversation(trace.episode)
        learnt = sum(turn.drawn for turn in trace.episode.turns)
        return {"prompt": messages[:-1], "completion": messages[-1:]} if learnt == 1 else {"messages": messages}

    def memory(self) -> dict[str, Any]:
        """The traces gathered so far, as plain values."""
        return {"kept": [asdict(trace) for trace in self.kept]}

    def recall(self, memory: dict[str, Any]) -> None:
        """Back to them."""
        self.kept = [_trace(kept) for kept in memory["kept"]]


def last_turn_only(trace: Scored) -> Scored:
    """The trace with all but its last reply as context."""
    *before, last = trace.episode.turns
    turns = (*(Turn(t.prompt, t.reply, False, t.temperature) for t in before), last)
    return Scored(Episode(trace.episode.problem, trace.episode.sample, turns), trace.reward, trace.parts)


def at_rest(trace: Scored) -> Scored:
    """The trace read at temperature 1, as what is imitated is: a data set remembers what was said, not how warmly."""
    turns = tuple(Turn(t.prompt, t.reply, t.drawn, 1.0) for t in trace.episode.turns)
    return Scored(Episode(trace.episode.problem, trace.episode.sample, turns), trace.reward, trace.parts)


def groups(scored: list[Scored]) -> dict[str, list[Scored]]:
    """The episodes of each problem."""
    found: dict[str, list[Scored]] = {}
    for one in scored:
        found.setdefault(one.episode.problem.id, []).append(one)
    return found


def generator(seed: int, round_: int) -> torch.Generator:
    """What a selection draws with: a function of (seed, round)."""
    return torch.Generator().manual_seed(hash((seed, round_, 17)) % 2**63)


def _trace(kept: dict[str, Any]) -> Scored:
    episode = kept["episode"]
    turns = tuple(
        Turn(tuple(t["prompt"]), Completion(**t["reply"]), t["drawn"], t["temperature"]) for t in episode["turns"]
    )
    return Scored(Episode(Problem(**episode["problem"]), episode["sample"], turns), kept["reward"], kept["parts"])
