"""Return-conditioned RL (Havrilla et al. 2024, arXiv 2403.04642): learn from right and wrong, told which is which.

    max  E  log pi(y | x, g),   g = [GOOD] where r(y) = 1, else [BAD];   decoded under [GOOD]

``tags`` at the end: one tag after the question, for how the reply will end. At steps: one before each step of the
reply, so that the policy also says which step it is at; decoding hands in the first. Every step has the tag of what
the reply came to: labels of single steps, which the paper also tries, would need a judge of steps.
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
    """tags: end, or steps, as above; balance: as many wrong episodes as right ones at the most."""

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
        """In the first iteration as the base model answers; once it knows the tags, under the good one."""
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
        """Under [GOOD]."""
        if self.tags == "steps":
            return self.runner(problems, group_size, sampling_params, seed, _begun)
        known = {p.id: p for p in problems}
        tagged = self.runner([_tagged(p, GOOD) for p in problems], group_size, sampling_params, seed)
        return [replace(episode, problem=known[episode.problem.id]) for episode in tagged]

    def select(self, scored: list[Scored]) -> list[Scored]:
        """Every episode with its tag; its first turn."""
        right = [one for one in scored if one.correct[0]]
        wrong = [one for one in scored if not one.correct[0]]
        wrong = wrong[: len(right)] if self.balance else wrong
        return [at_temperature_one(self.told(one)) for one in right + wrong]

    def told(self, one: Scored) -> Scored:
        """The episode as it is learnt: what was said, under the tag it has earned."""
        problem, turn = one.episode.problem, one.episode.turns[0]
        tag, text = (GOOD if one.correct[0] else BAD), turn.reply.text
        for old in (GOOD, BAD):
            text = text.replace(old, "")
        if self.tags == "steps":
            said = self.runner.reply("".join(tag + step for step in split_steps(text)))
            episode = self.runner.build_episode(problem, [(said, True)])
        else:
            episode = self.runner.build_episode(_tagged(problem, tag), [(turn.reply, True)])
        kept: tuple[Turn, ...] = episode.turns
        return Scored(Episode(episode.problem, one.episode.sample, kept), one.reward[:1], {})


def _tagged(problem: Problem, tag: str) -> Problem:
    return replace(problem, question=f"{problem.question} {tag}")


def _begun(problem: Problem, sample: int, group_size: int) -> Prefill:
    return Prefill(GOOD, False)
