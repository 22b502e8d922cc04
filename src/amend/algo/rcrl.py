"""Train with return-conditioned RL on right and wrong replies with tags (Havrilla et al. 2024, arXiv 2403.04642).

    max  E [ log pi(y | x, g) ],   g = [GOOD] if r(y) = 1, else [BAD];   decoding under g = [GOOD]

``tags=end`` puts one tag after the question. ``tags=steps`` puts a tag before each step of the reply, and decoding
prefills the first tag. The policy samples the later tags itself. Every step has the tag of the whole reply. The paper
also tries labels of single steps, but they would need a grader of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, Unpack

from amend.algo.context import AlgorithmContext
from amend.algo.imitation import Imitation, ImitationConfig, at_temperature_one
from amend.solution_steps import split_steps
from amend.types import Episode, Prefill, Problem, SamplingParams, Scored, Turn

GOOD, BAD = "[GOOD]", "[BAD]"


class RCRL(Imitation):
    """An imitation algorithm that fits the model to all replies, each with the tag of its correctness.

    Args:
        context: The context of the run.
        tags: The place of the tags: after the question (``end``), or before each step of the reply (``steps``).
        balance: Whether to keep at most as many wrong episodes of an iteration as right episodes.
        **imitation: The keys of ``ImitationConfig``.
    """

    fixed = {"turns": 1}  # noqa: RUF012
    moves_replies = True  # a reply is trained after a tag

    def __init__(
        self,
        context: AlgorithmContext,
        *,
        tags: Literal["end", "steps"],
        balance: bool,
        **imitation: Unpack[ImitationConfig],
    ) -> None:
        super().__init__(context, **imitation)
        self.tags, self.balance = tags, balance

    def episodes(self, problems: Sequence[Problem]) -> list[Episode]:
        """Sample under [GOOD]; before the first fit without a tag, because the base model does not know the tags."""
        sampling_params, seed = self.sampling_params(), (self.seed, self.iteration)
        if self.progress_before * self.iterations < 1:
            return self.runner(problems, self.group_size, sampling_params, seed, self.exploration.prefill)
        return self.generate(problems, self.group_size, sampling_params, seed)

    def generate(
        self,
        problems: Sequence[Problem],
        group_size: int,
        sampling_params: Sequence[SamplingParams],
        seed: tuple[int, ...],
    ) -> list[Episode]:
        """Answer problems under the tag [GOOD], see ``GenerationStrategy``."""
        if self.tags == "steps":
            return self.runner(problems, group_size, sampling_params, seed, _prefill_good)
        untagged = {p.id: p for p in problems}
        episodes = self.runner([_add_tag(p, GOOD) for p in problems], group_size, sampling_params, seed)
        return [replace(episode, problem=untagged[episode.problem.id]) for episode in episodes]

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Select the first turns of all episodes with their tags; with ``balance``, drop surplus wrong episodes."""
        right = [trace for trace in scored if trace.correct[0]]
        wrong = [trace for trace in scored if not trace.correct[0]]
        wrong = wrong[: len(right)] if self.balance else wrong
        return [at_temperature_one(self.build_tagged_trace(trace)) for trace in right + wrong]

    def build_tagged_trace(self, one: Scored) -> Scored:
        """Return the training trace of an episode: its first reply under the tag of its correctness.

        Tags that the policy sampled in the reply are removed first.

        Args:
            one: An episode with its reward.

        Returns:
            A trace of one turn.
        """
        problem, turn = one.episode.problem, one.episode.turns[0]
        tag, text = (GOOD if one.correct[0] else BAD), turn.reply.text
        for old_tag in (GOOD, BAD):
            text = text.replace(old_tag, "")
        if self.tags == "steps":
            reply = self.runner.reply("".join(tag + step for step in split_steps(text)))
            episode = self.runner.build_episode(problem, [(reply, True)])
        else:
            episode = self.runner.build_episode(_add_tag(problem, tag), [(turn.reply, True)])
        turns: tuple[Turn, ...] = episode.turns
        return Scored(Episode(episode.problem, one.episode.sample, turns), one.reward[:1], {})


def _add_tag(problem: Problem, tag: str) -> Problem:
    """Append a tag to the question."""
    return replace(problem, question=f"{problem.question} {tag}")


def _prefill_good(problem: Problem, sample: int, group_size: int) -> Prefill:
    """Return the prefill [GOOD] for every first reply."""
    return Prefill(GOOD, False)
