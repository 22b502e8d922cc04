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
from typing import Any

from amend.algo.prompting import Prompting
from amend.bounds import Count, Positive
from amend.types import Episode, Problem, Sampling


class BestOfN(Prompting):
    """n: how many replies; heat: the temperature they are drawn at."""

    def __init__(self, *house: Any, n: Count, heat: Positive, **asking: Any) -> None:
        super().__init__(*house, **asking)
        self.n, self.heat = n, heat

    def attempt(
        self, problems: Sequence[Problem], samples: int, how: Sequence[Sampling], seed: tuple[int, ...]
    ) -> list[Episode]:
        """A first attempt, and the likeliest of n others."""
        first = self.play(problems, samples, how[:1], seed)
        if len(how) < 2:
            return first
        drawn = self.play(problems, samples * self.n, [Sampling(self.heat, how[1].max_tokens)], (*seed, 1))
        chosen = [max(drawn[i : i + self.n], key=likelihood) for i in range(0, len(drawn), self.n)]
        return [replace(one, turns=(*one.turns, *best.turns)) for one, best in zip(first, chosen, strict=True)]


def likelihood(episode: Episode) -> float:
    """Mean log-probability (nats) of the first reply's tokens, as they were drawn."""
    reply = episode.turns[0].reply
    return sum(reply.logp) / max(sum(reply.own), 1)
