"""Self-consistency (Wang et al. 2022, arXiv 2203.11171): several replies, and the answer that most of them give.

    answer = mode of a(y_1), ..., a(y_n),   y_1 as asked, y_2, ..., y_n ~ pi(. | x) at a temperature

A tie goes to the answer that was given first; a reply without an answer does not vote. y_1 stands as the first attempt
and the reply that was elected as the second, so that the gain over asking once is the table's delta. Three votes cost
what self_refine costs: an attempt, a word about it, another attempt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from amend.algo.prompting import Prompting
from amend.bounds import Positive, Several
from amend.types import Episode, Problem, Sampling


class SelfConsistency(Prompting):
    """votes: how many replies vote, the first attempt among them; heat: the temperature the others are drawn at."""

    def __init__(self, *house: Any, votes: Several, heat: Positive, **asking: Any) -> None:
        super().__init__(*house, **asking)
        self.votes, self.heat = votes, heat

    def attempt(
        self, problems: Sequence[Problem], samples: int, how: Sequence[Sampling], seed: tuple[int, ...]
    ) -> list[Episode]:
        """A first attempt, and the reply that the vote chose."""
        first = self.play(problems, samples, how[:1], seed)
        if len(how) < 2:
            return first
        more = self.votes - 1
        others = self.play(problems, samples * more, [Sampling(self.heat, how[1].max_tokens)], (*seed, 1))
        elected = [self.elected([one, *others[i * more : (i + 1) * more]]) for i, one in enumerate(first)]
        return [replace(one, turns=(*one.turns, *chosen.turns)) for one, chosen in zip(first, elected, strict=True)]

    def elected(self, voters: list[Episode]) -> Episode:
        """The first episode that gives the most frequent answer; the first of all where none gives any."""
        answers = [self.play.answer(e.problem, e.turns[0].reply) for e in voters]
        votes = Counter(answer for answer in answers if answer is not None)
        return voters[answers.index(votes.most_common(1)[0][0])] if votes else voters[0]
