"""Answer with self-consistency, a majority vote over several replies (Wang et al. 2022, arXiv 2203.11171).

    answer = mode of a(y_1), ..., a(y_n),   y_1, ..., y_n ~ pi(. | x)

a(y) is the final answer of reply y, and n is ``num_votes``. y_1 is sampled like every first attempt, and the other
replies at ``temperature``. If several answers have the most votes, the answer of the earliest reply wins. A reply
without an answer has no vote.

The tables show y_1 as the first attempt and the reply that wins as the second attempt. Their delta is therefore the
gain of the vote over a single reply. Three votes sample as many replies as ``self_refine``.
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
    """A prompting method whose second attempt is the result of a majority vote.

    Args:
        context: The context of the run.
        num_votes: The number of replies that vote, with the first attempt.
        temperature: The sampling temperature of all replies but the first attempt.
        **prompting: The keys of ``PromptingConfig``.
    """

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
        """Answer problems, see ``GenerationStrategy``: with a first attempt and the reply that wins the vote."""
        first = self.runner(problems, group_size, sampling_params[:1], seed)
        if len(sampling_params) < 2:
            return first
        num_others = self.num_votes - 1
        others = self.runner(
            problems,
            group_size * num_others,
            [SamplingParams(self.temperature, sampling_params[1].max_tokens)],
            (*seed, 1),
        )
        winners = [
            self.elected([episode, *others[i * num_others : (i + 1) * num_others]]) for i, episode in enumerate(first)
        ]
        return [
            replace(episode, turns=(*episode.turns, *winner.turns))
            for episode, winner in zip(first, winners, strict=True)
        ]

    def elected(self, voters: list[Episode]) -> Episode:
        """Return the first episode with the most frequent answer, or the first episode if no episode has an answer."""
        answers = [self.runner.answer(e.problem, e.turns[0].reply) for e in voters]
        votes = Counter(answer for answer in answers if answer is not None)
        return voters[answers.index(votes.most_common(1)[0][0])] if votes else voters[0]
