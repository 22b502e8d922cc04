"""Answer with the best of n replies: the reply with the highest mean log-probability under the policy.

    y = argmax_i  1 / |y_i| sum_t log pi(y_it | x),   y_1, ..., y_n ~ pi(. | x) at ``temperature``

The method uses no verifier. The report shows the choice of a verifier as pass@n, and the choice of a reward model as
rerank@n. The tables show the chosen reply as the second attempt. The first attempt is one more reply, sampled like
every first attempt.

n = 4 gives five replies, as many as vote in ``self_consistency``. With the built-in model, they have about as many
tokens as the three replies of ``self_refine``, because the model's feedback uses all of ``max_tokens``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.prompting import Prompting, PromptingConfig
from amend.types import Episode, Problem, SamplingParams
from amend.value_types import Count, Positive


class BestOfN(Prompting):
    """A prompting method whose second attempt is the best of n replies.

    Args:
        context: The context of the run.
        n: The number of replies from which the method chooses.
        temperature: The sampling temperature of these replies.
        **prompting: The keys of ``PromptingConfig``.
    """

    replaces_second_turn = True

    def __init__(
        self, context: AlgorithmContext, *, n: Count, temperature: Positive, **prompting: Unpack[PromptingConfig]
    ) -> None:
        super().__init__(context, **prompting)
        self.n, self.temperature = n, temperature

    def generate(
        self,
        problems: Sequence[Problem],
        group_size: int,
        sampling_params: Sequence[SamplingParams],
        seed: tuple[int, ...],
    ) -> list[Episode]:
        """Answer problems, see ``GenerationStrategy``: with a first attempt and the best of n further replies."""
        first = self.runner(problems, group_size, sampling_params[:1], seed)
        if len(sampling_params) < 2:
            return first
        candidates = self.runner(
            problems, group_size * self.n, [SamplingParams(self.temperature, sampling_params[1].max_tokens)], (*seed, 1)
        )
        best = [max(candidates[i : i + self.n], key=likelihood) for i in range(0, len(candidates), self.n)]
        return [
            replace(episode, turns=(*episode.turns, *choice.turns)) for episode, choice in zip(first, best, strict=True)
        ]


def likelihood(episode: Episode) -> float:
    """Return the mean log-probability of the first reply's sampled tokens, in nats, at their sampling temperature."""
    reply = episode.turns[0].reply
    return sum(reply.logp) / max(sum(reply.loss_mask), 1)
