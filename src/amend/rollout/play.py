"""From problems to episodes: ask, listen, say what the dialogue says next, listen again.

``play`` is all an algorithm sees of tasks, dialogues and engines. Tokens are only ever appended; every reply's seed is
(run seed, round, problem, sample, turn), so an episode does not depend on the others that are played beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from zlib import crc32

from amend import ranks
from amend.dialogue import Dialogue
from amend.policy.renderer import Renderer
from amend.rollout.engine import Engine, Seed
from amend.rollout.tool import WithTool, told
from amend.task.base import Task, tool_of
from amend.types import Completion, Episode, Message, Opening, Problem, Sampling, Turn

Start = Callable[[Problem, int, int], Opening]  # how the first reply of an episode begins; ``amend.explore.start``


def from_nothing(problem: Problem, sample: int, samples: int) -> Opening:
    """Every reply is the policy's from its first token on."""
    return Opening("", False)


class Play:
    """Plays ``dialogue`` over ``task``; ``engine`` draws the policy's replies, ``base`` what the reference says.

    ``sampled_tokens`` counts every token drawn so far, by either: what a run has spent. Where the task gives the policy
    a tool, both have it, and its tokens are not counted.
    """

    def __init__(self, engine: Engine, base: Engine, renderer: Renderer, task: Task, dialogue: Dialogue) -> None:
        self._renderer, self._task, self._dialogue = renderer, task, dialogue
        self._tool = tool_of(task)
        self._engine: Engine = WithTool(engine, self._tool, renderer) if self._tool else engine
        self._base: Engine = WithTool(base, self._tool, renderer) if self._tool else base
        self.sampled_tokens = 0

    @property
    def turns(self) -> int:
        """How many turns a whole episode has."""
        return self._dialogue.turns

    @property
    def importance_cap(self) -> float | None:
        """The engine's, see ``Engine``."""
        return self._engine.importance_cap

    @property
    def attempts(self) -> tuple[int, ...]:
        """Which of the turns, counted from 0, are attempts at the problem; the others only speak of one."""
        return self._dialogue.attempts

    def sync(self) -> None:
        """Tell the engine that the policy's weights have changed."""
        self._engine.sync()

    def __call__(
        self,
        problems: Sequence[Problem],
        samples: int,
        how: Sequence[Sampling],
        seed: Seed,
        start: Start = from_nothing,
    ) -> list[Episode]:
        """``samples`` episodes of each problem, a problem's own side by side; a turn for each entry of ``how``.

        ``start`` says how each begins. What it hands in (the beginning of a reply, or a whole first attempt drawn from
        the reference) is context and is not trained.
        """
        opening = {p.id: self._renderer.opening(self._task.ask(p)) for p in problems}
        begun = [(Episode(p, i, ()), start(p, i, samples)) for p in problems for i in range(samples)]
        episodes: list[Episode] = []
        together = self._engine.batch * ranks.size()
        for at in range(0, len(begun), together):
            some = begun[at : at + together]
            now = [e for e, _ in some]
            given = [self._renderer.encode(first.given) if first.given else () for _, first in some]
            prompts = {i: opening[e.problem.id] + given[i] for i, e in enumerate(now)}
            for engine, base in ((self._engine, False), (self._base, True)):
                chosen = {i: prompt for i, prompt in prompts.items() if some[i][1].base is base}
                now = self._said(engine, now, chosen, how[0], seed)
            self._base.sync()
            for i, (_, first) in enumerate(some):
                turn = now[i].turns[0]
                reply = replace(turn.reply, text=first.given + turn.reply.text)
                now[i] = replace(now[i], turns=(replace(turn, reply=reply, drawn=not first.base),))
            episodes += self.go_on(now, how[1:], seed)
        return episodes

    def go_on(self, episodes: list[Episode], how: Sequence[Sampling], seed: Seed) -> list[Episode]:
        """The episodes with a turn more for each entry of ``how``, as long as the dialogue has something to say."""
        for draws in how:
            episodes = self._said(self._engine, episodes, self._followed(episodes), draws, seed)
        return episodes

    def retell(self, problem: Problem, replies: Sequence[tuple[Completion, bool]]) -> Episode:
        """The episode in which these were the replies, one a turn; False: context, and never trained."""
        episode = Episode(problem, 0, ())
        for reply, trained in replies:
            prompt = self._followed([episode])[0] if episode.turns else self._renderer.opening(self._task.ask(problem))
            episode = replace(episode, turns=(*episode.turns, Turn(prompt, reply, drawn=trained)))
        return episode

    def reply(self, text: str) -> Completion:
        """A text as if the policy had said it and ended; its log-probabilities are not known and stand as 0."""
        if self._tool is not None:
            return told(self._tool, self._renderer, text)
        tokens = self._renderer.reply(text)
        return Completion(tokens, (0.0,) * len(tokens), text, "end")

    def conversation(self, episode: Episode) -> list[dict[str, str]]:
        """The episode as messages, each with ``role`` and ``content``: what TRL and chat templates read."""
        messages = list(self._task.ask(episode.problem))
        for k, turn in enumerate(episode.turns):
            messages.append(Message("assistant", turn.reply.text))
            follow = self._dialogue.follow(replace(episode, turns=episode.turns[: k + 1]))
            if follow is not None and k + 1 < len(episode.turns):
                messages.append(follow)
        return [{"role": m.role, "content": m.content} for m in messages]

    def answer(self, problem: Problem, reply: Completion) -> str | None:
        """The final answer that a reply states, right or wrong; None where it states none."""
        return self._task.check(problem, reply.text).answer

    def _followed(self, episodes: Sequence[Episode]) -> dict[int, tuple[int, ...]]:
        """The next prompt of each episode that the dialogue has more to say to."""
        prompts: dict[int, tuple[int, ...]] = {}
        for i, episode in enumerate(episodes):
            if (message := self._dialogue.follow(episode)) is not None:
                last = episode.turns[-1]
                prompts[i] = self._renderer.following(last.prompt, last.reply, message, len(episode.turns))
        return prompts

    def _said(
        self, engine: Engine, episodes: list[Episode], prompts: dict[int, tuple[int, ...]], how: Sampling, seed: Seed
    ) -> list[Episode]:
        """The episodes that have a prompt with one more turn each; the others as they are."""
        seeds = [
            (*seed, crc32(episodes[i].problem.id.encode()), episodes[i].sample, len(episodes[i].turns)) for i in prompts
        ]
        asked = list(zip(prompts.values(), seeds, strict=True))
        replies = ranks.shared(asked, lambda mine: engine.sample([p for p, _ in mine], how, [s for _, s in mine]))
        self.sampled_tokens += sum(sum(reply.own) for reply in replies)
        turned = dict(zip(prompts, replies, strict=True))
        return [
            replace(e, turns=(*e.turns, Turn(prompts[i], turned[i], temperature=how.temperature))) if i in turned else e
            for i, e in enumerate(episodes)
        ]
