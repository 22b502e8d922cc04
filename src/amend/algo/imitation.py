"""Imitation in several fits: collect traces, fit the model to the traces, collect with the fitted model.

    D_i = traces selected from samples of pi_(i-1),   plus D_(i-1) with ``accumulate_data``
    pi_i = argmin  - E_(x, y in D_i)  log pi(y | x),   from the base model with ``init_from=base``

An iteration only collects traces. The run has ``iterations`` equal parts, and the model is fitted at the end of each
part. Expert iteration, STaR, Pair-SFT, return-conditioned RL and SFT differ in the traces that ``select`` keeps.
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
    """Keys of every algorithm that builds a data set and imitates its traces."""

    iterations: Count
    """Number of fits in the run. Each fit has its own data set."""
    init_from: Literal["base", "last"]
    """Weights at the start of each fit: those of the base model, or those of the last fit."""
    accumulate_data: bool
    """Whether a fit also uses the traces of all earlier fits."""


class Imitation(Algorithm):
    """An algorithm that collects traces, selects some and fits the model to them with a cross-entropy loss.

    A fit makes ``update_epochs`` passes over the traces, with ``num_minibatches`` optimizer steps per pass.

    Args:
        context: The context of the run.
        iterations: The number of fits in the run.
        init_from: The weights at the start of each fit: those of the base model, or those of the last fit.
        accumulate_data: Whether a fit also uses the traces of all earlier fits.
        **loop: The keys of ``LoopConfig``.

    Attributes:
        kept: The traces for the next fit.
    """

    online = False  # the weights after a fit have not sampled yet, so no reward is about them

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
        """Select the traces of an iteration that a fit imitates.

        Args:
            scored: The episodes of the iteration with their rewards, without those that the reward failed to score.

        Returns:
            The selected traces, in which only imitated tokens are trained.
        """

    def kept_of(self, traces: list[Scored]) -> list[Scored]:
        """Limit the collected traces: by default, keep all of them.

        Args:
            traces: All traces collected for the next fit, in the order of their iterations.

        Returns:
            The traces that the next fit imitates.
        """
        return traces

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return 1 for each token that is imitated."""
        return batch.loss_mask.to(batch.old_logprobs.dtype)

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """Compute the cross-entropy, - log pi(y_t)."""
        return -advantages * out.logp

    def token_weights(self, batch: Batch) -> Float[Tensor, "b t"]:
        """Return the weights of a mean over all tokens that are imitated."""
        return aggregation.token_mean(batch.loss_mask)

    def update(self, scored: list[Scored]) -> dict[str, float]:
        """Collect traces, and fit the model at the end of a part of the run.

        Args:
            scored: The episodes with their rewards.

        Returns:
            ``num_traces``, and the metrics of the fit if there was one.
        """
        graded = [trace for trace in scored if not trace.failed]  # a failed episode has its group's mean reward
        self.kept = self.kept_of(self.kept + self.select(graded))
        metrics = {"num_traces": float(len(self.kept))}
        if self.ends(self.iterations) and self.kept:
            if self.init_from == "base":
                self.reset_to_base()
            self.data = [self.row(trace) for trace in self.kept]
            metrics |= self.fit(self.kept)
            self.kept = self.kept if self.accumulate_data else []
        return metrics

    def fit(self, traces: list[Scored]) -> dict[str, float]:
        """Train on the traces.

        Args:
            traces: The data set of the fit.

        Returns:
            The metrics of the fit, averaged over its optimizer steps.
        """
        batch = collate(traces).to(self.device)
        return self.optimize(batch, self.update_epochs, min(self.num_minibatches, len(batch)), (0.0, 1.0))

    def row(self, trace: Scored) -> dict[str, Any]:
        """Convert a trace to a row of TRL's conversational data formats.

        Args:
            trace: A trace of the data set.

        Returns:
            A row in the prompt-completion format, or in the format of messages if several turns are trained.
        """
        messages = self.runner.conversation(trace.episode)
        num_trained = sum(turn.is_trained for turn in trace.episode.turns)
        return {"prompt": messages[:-1], "completion": messages[-1:]} if num_trained == 1 else {"messages": messages}

    def extra_state(self) -> dict[str, Any]:
        """Return the traces for the next fit, as plain values."""
        return {"kept": [asdict(trace) for trace in self.kept]}

    def load_extra_state(self, memory: dict[str, Any]) -> None:
        """Restore the traces for the next fit."""
        self.kept = [_restore_trace(state) for state in memory["kept"]]


def last_turn_only(trace: Scored) -> Scored:
    """Return the trace with only its last reply trained. The other replies are context."""
    *before, last = trace.episode.turns
    turns = (*(Turn(t.prompt, t.reply, False, t.temperature) for t in before), last)
    return replace(trace, episode=replace(trace.episode, turns=turns))


def at_temperature_one(trace: Scored) -> Scored:
    """Set the temperature of all turns to 1, because supervised training ignores the sampling temperature."""
    turns = tuple(Turn(t.prompt, t.reply, t.is_trained, 1.0) for t in trace.episode.turns)
    return replace(trace, episode=replace(trace.episode, turns=turns))


def group_by_problem(scored: list[Scored]) -> dict[str, list[Scored]]:
    """Group episodes by the id of their problem, in the order of their first episodes."""
    groups: dict[str, list[Scored]] = {}
    for trace in scored:
        groups.setdefault(trace.episode.problem.id, []).append(trace)
    return groups


def _restore_trace(state: dict[str, Any]) -> Scored:
    """Convert one value of ``extra_state`` back to a trace."""
    episode = state["episode"]
    turns = tuple(
        Turn(tuple(t["prompt"]), Completion(**t["reply"]), t["is_trained"], t["temperature"]) for t in episode["turns"]
    )
    return Scored(
        Episode(Problem(**episode["problem"]), episode["sample"], turns),
        state["reward"],
        state["parts"],
        verified=tuple(state["verified"]),
    )
