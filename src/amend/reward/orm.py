"""Use an outcome reward model as a reward: the probability that an unfinished reply turns out right.

The model is the body of a causal language model with one linear head, which is applied at every token (Cobbe et al.
2021, arXiv 2110.14168):

    p_t = sigmoid(w' h_t + c)  ~  P(right | problem, conversation up to token t)

An outcome reward model (ORM) is trained on the outcomes of the replies themselves. A step-wise model (SORM) is trained
on whether a prefix of a reply can still end right (GLoRe, arXiv 2402.10963). ``job=train_orm`` trains both.

s_1 ... s_m are the last tokens of a reply's steps; s_m is the last token of the reply. s_0 is the token before the
reply. The reward is one of three (Havrilla et al. 2024, arXiv 2403.04642):

    sparse        p(s_m), at the end of the turn
    value         p(s_i) / m at each s_i; the sum over the turn is their mean
    difference    p(s_i) - p(s_{i-1}) at each s_i; the sum over the turn is p(s_m) - p(s_0)

The model reads the policy's tokens, so it must have the policy's tokenizer.
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
    """The reward from an outcome model.

    Args:
        task: Not used.
        weight: The factor of this component in the sum of all components.
        path: The folder of the model, written by job=train_orm.
        use: The form of the reward: "sparse", "value" or "difference".
    """

    def __init__(
        self, task: Task, *, weight: NonNegative, path: str, use: Literal["sparse", "value", "difference"]
    ) -> None:
        self.weight = at_least_zero("reward.orm.weight", weight)
        self._model, self._use = outcome_model("reward.orm.path", path), use

    def __call__(self, episodes: Sequence[Episode]) -> Float[np.ndarray, "b k"]:
        """Return the reward at the end of each turn.

        Args:
            episodes: The b episodes. The longest has k turns.

        Returns:
            With "sparse", the probability of being right at the end of each turn, [b k]. Otherwise 0, because the
            reward is given at single tokens.
        """
        if self._use == "sparse":
            return at_ends(self._model, episodes)
        return np.zeros((len(episodes), max((len(episode.turns) for episode in episodes), default=0)))

    def token_rewards(self, episodes: Sequence[Episode]) -> list[Float[np.ndarray, " t"]]:
        """Return the reward of each trained token.

        Args:
            episodes: The episodes.

        Returns:
            One array for each episode with the weighted rewards of its trained tokens, in order; 0 except at the ends
            of steps.
        """
        if self._use == "sparse":
            return [np.zeros(sum(sum(turn.loss_mask) for turn in e.turns)) for e in episodes]
        probabilities = self._model.read([conversation(episode) for episode in episodes])
        return [self._step_rewards(episode, p) for episode, p in zip(episodes, probabilities, strict=True)]

    def _step_rewards(self, episode: Episode, p: Float[np.ndarray, " t"]) -> Float[np.ndarray, " n"]:
        """Return the weighted rewards of an episode's trained tokens; ``p`` has the probability at each token."""
        rewards, is_trained = np.zeros(len(p)), np.zeros(len(p), dtype=bool)
        for turn in episode.turns:
            first = len(turn.prompt)
            is_trained[first : first + len(turn.reply.tokens)] = turn.loss_mask
            ends = self._model.step_ends(turn)
            # If a tool's token completes a step, the policy's last token before it gets the reward (the end of a call).
            last_sampled = np.maximum.accumulate(np.where(turn.reply.loss_mask, np.arange(len(turn.reply.tokens)), 0))
            places = first + last_sampled[np.array(ends) - first]
            if self._use == "value":
                np.add.at(rewards, places, p[ends] / len(ends))
            else:
                np.add.at(rewards, places, np.diff(p[[first - 1, *ends]]))
        return self.weight * rewards[is_trained]
