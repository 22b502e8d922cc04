"""Outcome reward models: the probability that a reply, as far as it has got, comes out right; and that as a reward.

A causal language model's body with one linear head, read at every token (Cobbe et al. 2021, arXiv 2110.14168):

    p_t = sigmoid(w' h_t + c)  ~  P(right | problem, conversation up to token t)

Trained on what came of the replies themselves it is an ORM; on what could still come of their prefixes a stepwise one,
SORM (GLoRe, arXiv 2402.10963). ``job=train_orm`` makes both. With s_1 ... s_m the ends of a reply's steps, the last of
them its last token, and s_0 the token before it, the reward is one of (Havrilla et al. 2024, arXiv 2403.04642)

    sparse        p(s_m), at the end of the turn
    value         p(s_i) / m at each s_i, their mean over the turn
    difference    p(s_i) - p(s_{i-1}) at each s_i, p(s_m) - p(s_0) over the turn

The tokens are the policy's own, so the model that is read must share its tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from amend.reward.base import at_least_zero
from amend.reward.outcome_model import at_ends, conversation, outcome_model
from amend.task.base import Task
from amend.types import Episode
from amend.value_types import NonNegative


class Orm:
    """An outcome model's opinion, paid as ``use`` says. ``path`` is the folder that job=train_orm wrote."""

    def __init__(
        self, task: Task, *, weight: NonNegative, path: str, use: Literal["sparse", "value", "difference"]
    ) -> None:
        self.weight = at_least_zero("reward.orm.weight", weight)
        self._model, self._use = outcome_model("reward.orm.path", path), use

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """sparse: the probability of being right at the end of each turn. The others pay on the way: 0."""
        if self._use == "sparse":
            return at_ends(self._model, episodes)
        return np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))

    def token_rewards(self, episodes: Sequence[Episode]) -> list[Float[np.ndarray, " t"]]:
        """``weight`` times what is paid at each token that the policy drew, in order: 0 but at the ends of steps."""
        if self._use == "sparse":
            return [np.zeros(sum(sum(turn.trained) for turn in e.turns)) for e in episodes]
        read = self._model.read([conversation(episode) for episode in episodes])
        return [self._pay(episode, p) for episode, p in zip(episodes, read, strict=True)]

    def _pay(self, episode: Episode, p: Float[np.ndarray, " t"]) -> Float[np.ndarray, " n"]:
        paid, drawn = np.zeros(len(p)), np.zeros(len(p), dtype=bool)
        for turn in episode.turns:
            first = len(turn.prompt)
            drawn[first : first + len(turn.reply.tokens)] = turn.trained
            ends = self._model.step_ends(turn)
            # A step that a tool's token completes is paid where the policy last spoke in it: at the call.
            own = np.maximum.accumulate(np.where(turn.reply.own, np.arange(len(turn.reply.tokens)), 0))
            places = first + own[np.array(ends) - first]
            if self._use == "value":
                np.add.at(paid, places, p[ends] / len(ends))
            else:
                np.add.at(paid, places, np.diff(p[[first - 1, *ends]]))
        return self.weight * paid[drawn]
