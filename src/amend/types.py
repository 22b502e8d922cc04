"""The nouns of amend: what flows from a problem to a gradient.

    Problem -rollout-> Episode -reward-> Scored -collate-> Batch -credit-> [b t] -loss-> [b t] -reduce-> step

``Batch`` and ``collate`` live in ``batch.py``: they need torch, and whoever only poses or checks problems does not

Every noun is frozen and complete: a value exists only once its stage has run, so nothing here is ever ``None`` for
"not yet". Axis letters are the same in every file: p problems, n samples of each, b = p * n episodes, t tokens,
k turns, v vocabulary. Turns count from 0 in arrays and from 1 wherever a person reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

Tokens = tuple[int, ...]
Stop = Literal["end", "length", "pause"]  # pause: only between an engine and a tool, see Sampling


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as chat templates know it."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its gold answer. ``meta`` holds what the task knows beside: level, subject, solution, ..."""

    id: str
    question: str
    target: str
    meta: Mapping[str, Any] = field(default_factory=dict)


class Verdict(NamedTuple):
    """What a check found: the answer read out of the reply (None: there was none), whether it is right, and why."""

    answer: str | None
    correct: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model said: the tokens it drew, in order, the end token kept; never re-tokenised.

    ``logp[i]`` is the natural log-probability of ``tokens[i]`` under the sampling distribution, temperature included.
    ``text`` is the decoded reply without the end token. ``stop`` tells whether the model ended it or the length did.
    ``drawn`` tells which tokens the policy drew where a tool wrote the others (log-probability 0); empty: all of them.
    """

    tokens: Tokens
    logp: tuple[float, ...]
    text: str
    stop: Stop
    drawn: tuple[bool, ...] = ()

    @property
    def own(self) -> tuple[bool, ...]:
        """For each token, whether the policy drew it."""
        return self.drawn or (True,) * len(self.tokens)


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange. ``prompt`` is the whole context the reply was drawn in, so turn 2's prompt extends turn 1's tokens.

    ``drawn`` is False for a reply that was handed in (an offline first attempt): it is context, and never trained.
    ``temperature`` is the one it was drawn at (0: greedy), and so the one at which it is read again.
    """

    prompt: Tokens
    reply: Completion
    drawn: bool = True
    temperature: float = 1.0

    @property
    def trained(self) -> tuple[bool, ...]:
        """For each token of the reply, whether it is trained: drawn by the policy, in a reply that is its own."""
        return self.reply.own if self.drawn else (False,) * len(self.reply.tokens)


@dataclass(frozen=True, slots=True)
class Episode:
    """A problem and everything said about it. ``sample`` numbers the episodes of one problem in one round."""

    problem: Problem
    sample: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Scored:
    """An episode and its reward.

    Attributes:
        episode: the episode.
        reward: one reward for each turn: the weighted sum of ``parts``.
        parts: the unweighted value of each part of the reward, for each turn.
        along: rewards at single trained tokens of the episode, in order; the remainder of a turn's reward is given at
            the last token of the turn. Empty if no part gives rewards at tokens.
        failed: whether a part could not score the episode. Its reward is then the mean of its group.
        verified: whether each turn is correct, as the task's verifier says. Empty if no part of the reward asks the
            verifier.
    """

    episode: Episode
    reward: tuple[float, ...]
    parts: Mapping[str, tuple[float, ...]]
    token_rewards: tuple[float, ...] = ()
    failed: bool = False
    verified: tuple[bool, ...] = ()

    @property
    def correct(self) -> tuple[bool, ...]:
        """Whether each turn is correct. Without a verifier: whether its reward, read as a probability, exceeds 1/2."""
        return self.verified or tuple(value > 0.5 for value in self.reward)


class Prefill(NamedTuple):
    """The beginning of a first reply that is handed in ("": none), and whether the base model draws the reply."""

    given: str
    base: bool


class Budget(NamedTuple):
    """What a run may spend; None: no bound. The round that reaches it is the last."""

    sampled_tokens: int | None
    episodes: int | None

    def share(self, counters: Mapping[str, int]) -> float:
        """How much of it is spent: 0 with no bound, 1 or more when it is over."""
        bounds = ((self.sampled_tokens, counters["sampled_tokens"]), (self.episodes, counters["episodes"]))
        return max((used / bound for bound, used in bounds if bound), default=0.0)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to draw: temperature 0 is greedy; ``max_tokens`` bounds a reply, its end token included.

    At a token of ``pause`` an engine may stop (with ``stop`` "pause"), so that a tool can write what comes next.
    """

    temperature: float
    max_tokens: int
    pause: frozenset[int] = frozenset()


Reranker = Callable[[Sequence[Episode]], np.ndarray]
"""What a ranker is: [b k], the chance that each turn's reply is right."""
