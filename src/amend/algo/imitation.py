"""Learning by imitation, in iterations: gather traces, fit the model to them, gather with the fitted model.

    D_i = traces selected from samples of pi_(i-1)   (united with D_(i-1) where ``union``)
    pi_i = argmin  - E_(x, y in D_i)  log pi(y | x),   from the base model where ``begin`` is base

A round only gathers; at the end of each of ``iterations`` equal parts of the run the model is fitted. What separates
expert iteration, STaR, Pair-SFT, return-conditioned RL and plain fine-tuning is which traces they keep: ``select``.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, replace
from typing import Any, Literal, Unpack

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext, LoopConfig
from amend.batch import Batch, collate
from amend.ops import aggregation
from amend.ops.logprobs import TokenLogprobs
from amend.types import Completion, Episode, Problem, Scored, Turn
from amend.value_types import Count


class ImitationConfig(LoopConfig):
    """Keys of every algorithm that builds a data set and imitates it."""

    iterations: Count
    """How often the algorithm builds a data set and fits it, over the whole run."""
    init_from: Literal["base", "last"]
    """Where each fit starts: from the base model, or from the last fit."""
    accumulate_data: bool
    """Whether a fit also uses the traces of all earlier iterations."""


class Imitation(Algorithm):
    """Gather, select, fit.

    iterations: how often the model is fitted
    begin:      what each fit begins with: the base model, or the last fit
    union:      whether an iteration also has the traces of those before it
                ``updates`` are the steps of a pass over the traces, ``epochs`` the passes of a fit
    """

    online = False  # what a fit leaves has not sampled yet: no reward of this run speaks of it

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        iterations: Count,
        init_from: Literal["base", "last"],
        accumulate_data: bool,
        **loop: Unpack[LoopConfig],
    ) -> None:
        super().__init__(context, **loop)
        self.iterations, self.init_from, self.accumulate_data = iterations, init_from, accumulate_data
        self.kept: list[Scored] = []

    @abstractmethod
    def select(self, scored: list[Scored]) -> list[Scored]:
        """The traces to learn from that this round gives."""

    def kept_of(self, traces: list[Scored]) -> list[Scored]:
        """What a fit sees of all traces gathered; here, all of them."""
        return traces

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Every token of a kept trace counts alike."""
        return batch.loss_mask.to(batch.old_logprobs.dtype)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Cross-entropy."""
        return -advantages * out.logp

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """One mean over all tokens that are imitated."""
        return aggregation.token_mean(batch.loss_mask)

    def update(self, scored: list[Scored]) -> dict[str, float]:
        """Gather; at the end of an iteration, fit."""
        judged = [one for one in scored if not one.failed]  # nobody knows whether the others are right
        self.kept = self.kept_of(self.kept + self.select(judged))
        learned = {"num_traces": float(len(self.kept))}
        if self.ends(self.iterations) and self.kept:
            if self.init_from == "base":
                self.reset_to_base()
            self.data = [self.row(trace) for trace in self.kept]
            learned |= self.fit(self.kept)
            self.kept = self.kept if self.accumulate_data else []
        return learned

    def fit(self, traces: list[Scored]) -> dict[str, float]:
        """Some epochs over the traces."""
        batch = collate(traces).to(self.device)
        return self.optimize(batch, self.update_epochs, min(self.num_minibatches, len(batch)), (0.0, 1.0))

    def row(self, trace: Scored) -> dict[str, Any]:
        """The trace in TRL's conversational prompt-completion format (its messages alone, where several are learnt)."""
        messages = self.runner.conversation(trace.episode)
        learnt = sum(turn.drawn for turn in trace.episode.turns)
        return {"prompt": messages[:-1], "completion": messages[-1:]} if learnt == 1 else {"messages": messages}

    def extra_state(self) -> dict[str, Any]:
        """The traces gathered so far, as plain values."""
        return {"kept": [asdict(trace) for trace in self.kept]}

    def load_extra_state(self, memory: dict[str, Any]) -> None:
        """Back to them."""
        self.kept = [_trace(kept) for kept in memory["kept"]]


def last_turn_only(trace: Scored) -> Scored:
    """The trace with all but its last reply as context."""
    *before, last = trace.episode.turns
    turns = (*(Turn(t.prompt, t.reply, False, t.temperature) for t in before), last)
    return replace(trace, episode=replace(trace.episode, turns=turns))


def at_temperature_one(trace: Scored) -> Scored:
    """The trace read at temperature 1, as what is imitated is: a data set remembers what was said, not how warmly."""
    turns = tuple(Turn(t.prompt, t.reply, t.drawn, 1.0) for t in trace.episode.turns)
    return replace(trace, episode=replace(trace.episode, turns=turns))


def group_by_problem(scored: list[Scored]) -> dict[str, list[Scored]]:
    """The episodes of each problem."""
    found: dict[str, list[Scored]] = {}
    for one in scored:
        found.setdefault(one.episode.problem.id, []).append(one)
    return found


def _trace(kept: dict[str, Any]) -> Scored:
    episode = kept["episode"]
    turns = tuple(
        Turn(tuple(t["prompt"]), Completion(**t["reply"]), t["drawn"], t["temperature"]) for t in episode["turns"]
    )
    return Scored(
        Episode(Problem(**episode["problem"]), episode["sample"], turns),
        kept["reward"],
        kept["parts"],
        verified=tuple(kept["verified"]),
    )
