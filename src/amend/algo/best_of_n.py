"""Best of n: several replies, and the one the policy itself finds likeliest.

    y = argmax_i  1 / |y_i| sum_t log pi(y_it | x),   y_1, ..., y_n ~ pi(. | x) at a temperature

No verifier: what the oracle would choose is pass@n, and what a reward model would is rerank@n (``report``). The chosen
reply stands as the second attempt, beside a first one drawn as asked. With n = 4 that is five replies, about
as many tokens as self_refine's three (of which the built-in model's word about an attempt runs to the limit), and as
many replies as vote in self_consistency.
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
    """n: how many replies; heat: the temperature they are drawn at."""

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
        """A first attempt, and the likeliest of n others."""
        first = self.runner(problems, group_size, sampling_params[:1], seed)
        if len(sampling_params) < 2:
            return first
        drawn = self.runner(
            problems, group_size * self.n, [SamplingParams(self.temperature, sampling_params[1].max_tokens)], (*seed, 1)
        )
        chosen = [max(drawn[i : i + self.n], key=likelihood) for i in range(0, len(drawn), self.n)]
        return [replace(one, turns=(*one.turns, *best.turns)) for one, best in zip(first, chosen, strict=True)]


def likelihood(episode: Episode) -> float:
    """Mean log-probability (nats) of the first reply's tokens, as they were drawn."""
    reply = episode.turns[0].reply
    return sum(reply.logp) / max(sum(reply.own), 1)
