"""From problems to episodes: ask, listen, say what the dialogue says next, listen again.

``play`` is all an algorithm sees of tasks, dialogues and engines. Tokens are only ever appended; every reply's seed is
(run seed, round, problem, sample, turn), so an episode does not depend on the others that are played beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from zlib import crc32

from amend.dialogue import Dialogue
from amend.policy.renderer import Renderer
from amend.rollout.engine import Engine, Seed
from amend.task.base import Task
from amend.types import Episode, Problem, Sampling, Turn


class Play:
    """Plays ``dialogue`` over ``task``; ``engine`` draws the policy's replies, ``base`` what the reference says."""

    def __init__(self, engine: Engine, base: Engine, renderer: Renderer, task: Task, dialogue: Dialogue) -> None:
        self._engine, self._base, self._renderer, self._task, self._dialogue = engine, base, renderer, task, dialogue

    @property
    def turns(self) -> int:
        """How many turns a whole episode has."""
        return self._dialogue.turns

    def sync(self) -> None:
        """Tell the engine that the policy's weights have changed."""
        self._engine.sync()

    def __call__(
        self, problems: Sequence[Problem], samples: int, turns: int, how: Sampling, seed: Seed, offline: float = 0.0
    ) -> list[Episode]:
        """``samples`` episodes of each problem, a problem's own side by side; each of up to ``turns`` turns.

        ``offline`` is the share of each problem's episodes whose first attempt is drawn from the reference instead of
        the policy (SCoRe, section 5.3); such a reply is context and is not trained.
        """
        opening = {p.id: self._renderer.opening(self._task.ask(p)) for p in problems}
        begun = [(p, sample, sample < round(offline * samples)) for p in problems for sample in range(samples)]
        episodes: list[Episode] = []
        for start in range(0, len(begun), self._engine.batch):
            some = begun[start : start + self._engine.batch]
            given = [Episode(p, sample, ()) for p, sample, offline_ in some if offline_]
            drawn = [Episode(p, sample, ()) for p, sample, offline_ in some if not offline_]
            now = self._turn(self._engine, drawn, opening, how, seed)
            if given:
                handed = self._turn(self._base, given, opening, how, seed)
                self._base.sync()
                now += [replace(e, turns=(replace(e.turns[0], drawn=False),)) for e in handed]
                order = {(p.id, sample): i for i, (p, sample, _) in enumerate(some)}
                now.sort(key=lambda e: order[e.problem.id, e.sample])
            for _ in range(1, turns):
                now = self._turn(self._engine, now, opening, how, seed)
            episodes += now
        return episodes

    def _turn(
        self, engine: Engine, episodes: list[Episode], opening: dict[str, tuple[int, ...]], how: Sampling, seed: Seed
    ) -> list[Episode]:
        """The episodes with one more turn each; those the dialogue has nothing more to say to are left as they are."""
        prompts: dict[int, tuple[int, ...]] = {}
        for i, episode in enumerate(episodes):
            if not episode.turns:
                prompts[i] = opening[episode.problem.id]
            elif (message := self._dialogue.follow(episode)) is not None:
                last = episode.turns[-1]
                prompts[i] = self._renderer.following(last.prompt, last.reply, message)
        seeds = [
            (*seed, crc32(episodes[i].problem.id.encode()), episodes[i].sample, len(episodes[i].turns)) for i in prompts
        ]
        replies = engine.sample(list(prompts.values()), how, seeds) if prompts else []
        turned = dict(zip(prompts, replies, strict=True))
        return [
            replace(e, turns=(*e.turns, Turn(prompts[i], turned[i]))) if i in turned else e
            for i, e in enumerate(episodes)
        ]
