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
from typing import Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.prompting import Prompting, PromptingConfig
from amend.types import Episode, Problem, SamplingParams
from amend.value_types import Positive, Several


class SelfConsistency(Prompting):
    """votes: how many replies vote, the first attempt among them; heat: the temperature the others are drawn at."""

    replaces_second_turn = True

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        num_votes: Several,
        temperature: Positive,
        **prompting: Unpack[PromptingConfig],
    ) -> None:
        super().__init__(context, **prompting)
        self.num_votes, self.temperature = num_votes, temperature

    def generate(
        self,
        problems: Sequence[Problem],
        group_size: int,
        sampling_params: Sequence[SamplingParams],
        seed: tuple[int, ...],
    ) -> list[Episode]:
        """A first attempt, and the reply that the vote chose."""
        first = self.runner(problems, group_size, sampling_params[:1], seed)
        if len(sampling_params) < 2:
            return first
        more = self.num_votes - 1
        others = self.runner(
            problems, group_size * more, [SamplingParams(self.temperature, sampling_params[1].max_tokens)], (*seed, 1)
        )
        elected = [self.elected([one, *others[i * more : (i + 1) * more]]) for i, one in enumerate(first)]
        return [replace(one, turns=(*one.turns, *chosen.turns)) for one, chosen in zip(first, elected, strict=True)]

    def elected(self, voters: list[Episode]) -> Episode:
        """The first episode that gives the most frequent answer; the first of all where none gives any."""
        answers = [self.runner.answer(e.problem, e.turns[0].reply) for e in voters]
        votes = Counter(answer for answer in answers if answer is not None)
        return voters[answers.index(votes.most_common(1)[0][0])] if votes else voters[0]
