"""The types that carry data from a problem to an optimizer step.

    Problem -rollout-> Episode -reward-> Scored -collate-> Batch -advantages-> [b t] -loss-> [b t] -aggregation-> step

``Batch`` and ``collate`` live in ``batch.py`` so that tasks and graders need not import torch.

The types are immutable. A value exists only after its stage has run, so no field is ``None`` because a stage has not
run yet. Axis letters are the same in every file: p problems, n samples per problem, b = p * n episodes, t tokens, k
turns, v vocabulary. Turns count from 0 in arrays and from 1 in text for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

Tokens = tuple[int, ...]
Stop = Literal["end", "length", "pause"]  # pause: only between an engine and a tool, see SamplingParams


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as in chat templates.

    Attributes:
        role: The author of the message.
        content: The text.
    """

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its target answer.

    Attributes:
        id: The identifier, unique in its task.
        question: The text of the question.
        target: The target answer.
        meta: Other data of the task: level, subject, solution, and so on.
    """

    id: str
    question: str
    target: str
    meta: Mapping[str, Any] = field(default_factory=dict)


class Verdict(NamedTuple):
    """The result of grading a reply.

    Attributes:
        answer: The answer that the grader found in the reply; None if it found none.
        correct: Whether the answer is correct.
        reason: The reason of the verdict.
    """

    answer: str | None
    correct: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply that the model sampled.

    Attributes:
        tokens: The tokens in order, with the end token. They are never tokenized again.
        logp: The log-probability of each token in nats under the sampling distribution, with the temperature applied.
        text: The decoded reply without the end token.
        stop: How the reply ended: "end" (end token), "length" (limit), or "pause" (a token at which a tool may answer).
        sampled: Whether the policy sampled each token; empty if it sampled all. A tool wrote the other tokens, whose
            log-probability is 0.
    """

    tokens: Tokens
    logp: tuple[float, ...]
    text: str
    stop: Stop
    sampled: tuple[bool, ...] = ()

    @property
    def loss_mask(self) -> tuple[bool, ...]:
        """Return for each token whether the policy sampled it."""
        return self.sampled or (True,) * len(self.tokens)


@dataclass(frozen=True, slots=True)
class Turn:
    """One prompt with its reply.

    Attributes:
        prompt: All tokens before the reply. The prompt of turn 2 begins with the tokens of turn 1.
        reply: The reply.
        is_trained: Whether the reply is trained. It is False for a given reply, such as a first attempt of the base
            model, which is context.
        temperature: The sampling temperature (0: greedy). Training uses the same temperature.
    """

    prompt: Tokens
    reply: Completion
    is_trained: bool = True
    temperature: float = 1.0

    @property
    def loss_mask(self) -> tuple[bool, ...]:
        """Return for each token of the reply whether it is trained. Only tokens that the policy sampled are trained."""
        return self.reply.loss_mask if self.is_trained else (False,) * len(self.reply.tokens)


@dataclass(frozen=True, slots=True)
class Episode:
    """A problem with its turns.

    Attributes:
        problem: The problem.
        sample: The number of the episode among those of its problem in one iteration, from 0.
        turns: The turns.
    """

    problem: Problem
    sample: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """An episode and its reward.

    Attributes:
        episode: The episode.
        reward: One reward for each turn: the weighted sum of ``parts``.
        parts: The unweighted value of each component of the reward, for each turn.
        token_rewards: Rewards at single trained tokens of the episode, in order; the remainder of a turn's reward is
            given at the last token of the turn. Empty if no component gives rewards at tokens.
        failed: Whether a component could not score the episode. Its reward is then the mean of its group.
        verified: Whether each turn is correct, as the task's grader says. Empty if no component of the reward uses the
            grader.
    """

    episode: Episode
    reward: tuple[float, ...]
    parts: Mapping[str, tuple[float, ...]]
    token_rewards: tuple[float, ...] = ()
    failed: bool = False
    verified: tuple[bool, ...] = ()

    @property
    def correct(self) -> tuple[bool, ...]:
        """Return whether each turn is correct.

        Without a grader, a turn is correct if its reward, read as a probability, exceeds 1/2.
        """
        return self.verified or tuple(value > 0.5 for value in self.reward)


class Prefill(NamedTuple):
    """The beginning of a first reply.

    Attributes:
        given: The text that the reply begins with; "": no text.
        base: Whether the base model samples the reply.
    """

    given: str
    base: bool


class Budget(NamedTuple):
    """The budget of a run. The iteration that reaches it is the last one.

    Attributes:
        sampled_tokens: The maximum number of sampled tokens; None: no limit.
        episodes: The maximum number of episodes; None: no limit.
    """

    sampled_tokens: int | None
    episodes: int | None

    def share(self, counters: Mapping[str, int]) -> float:
        """Return the used share of the budget.

        Args:
            counters: The used ``sampled_tokens`` and ``episodes``.

        Returns:
            0 without a limit; 1 or more if the budget is used up.
        """
        bounds = ((self.sampled_tokens, counters["sampled_tokens"]), (self.episodes, counters["episodes"]))
        return max((used / bound for bound, used in bounds if bound), default=0.0)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample a reply.

    Attributes:
        temperature: The sampling temperature; 0 is greedy decoding.
        max_tokens: The maximum number of tokens of a reply, its end token included.
        pause: Tokens at which an engine may stop with ``stop="pause"``, so that a tool can write the next tokens.
    """

    temperature: float
    max_tokens: int
    pause: frozenset[int] = frozenset()


Reranker = Callable[[Sequence[Episode]], np.ndarray]
"""A function that returns the probability that the reply of each turn is right, [b k]."""
