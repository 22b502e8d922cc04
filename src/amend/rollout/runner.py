"""From problems to episodes: ask, listen, say what the dialogue says next, listen again.

``play`` is all an algorithm sees of tasks, dialogues and engines. Tokens are only ever appended; every reply's seed is
(run seed, round, problem, sample, turn), so an episode does not depend on the others that are played beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from zlib import crc32

from amend.dialogue import Dialogue
from amend.distributed import collectives
from amend.policy.chat_renderer import ChatRenderer
from amend.rollout.base import Engine, Seed
from amend.rollout.tool_engine import ToolEngine, told
from amend.task.base import Task
from amend.task.tools import tool_of
from amend.types import Completion, Episode, Message, Prefill, Problem, SamplingParams, Turn

Prefiller = Callable[
    [Problem, int, int], Prefill
]  # how the first reply of an episode begins; ``amend.explore.prefill``


def no_prefill(problem: Problem, sample: int, samples: int) -> Prefill:
    """Every reply is the policy's from its first token on."""
    return Prefill("", False)


class RolloutRunner:
    """Plays ``dialogue`` over ``task``; ``engine`` draws the policy's replies, ``base`` what the reference says.

    ``sampled_tokens`` counts every token drawn so far, by either: what a run has spent. Where the task gives the policy
    a tool, both have it, and its tokens are not counted.
    """

    def __init__(self, engine: Engine, base: Engine, renderer: ChatRenderer, task: Task, dialogue: Dialogue) -> None:
        self._renderer, self._task, self._dialogue = renderer, task, dialogue
        self._tool = tool_of(task)
        self._engine: Engine = ToolEngine(engine, self._tool, renderer) if self._tool else engine
        self._base: Engine = ToolEngine(base, self._tool, renderer) if self._tool else base
        self.sampled_tokens = 0

    @property
    def turns(self) -> int:
        """How many turns a whole episode has."""
        return self._dialogue.turns

    @property
    def importance_sampling_cap(self) -> float | None:
        """The engine's, see ``Engine``."""
        return self._engine.importance_sampling_cap

    @property
    def attempts(self) -> tuple[int, ...]:
        """Which of the turns, counted from 0, are attempts at the problem; the others only speak of one."""
        return self._dialogue.attempts

    def sync_weights(self) -> None:
        """Tell the engine that the policy's weights have changed."""
        self._engine.sync_weights()

    def __call__(
        self,
        problems: Sequence[Problem],
        samples: int,
        sampling_params: Sequence[SamplingParams],
        seed: Seed,
        start: Prefiller = no_prefill,
    ) -> list[Episode]:
        """``samples`` episodes of each problem, a problem's own side by side; a turn for each entry of
        ``sampling_params``.

        ``start`` says how each begins. What it hands in (the beginning of a reply, or a whole first attempt drawn from
        the reference) is context and is not trained.
        """
        opening = {p.id: self._renderer.build_generation_prompt(self._task.render_prompt(p)) for p in problems}
        begun = [(Episode(p, i, ()), start(p, i, samples)) for p in problems for i in range(samples)]
        episodes: list[Episode] = []
        together = self._engine.max_batch_size * collectives.world_size()
        for at in range(0, len(begun), together):
            some = begun[at : at + together]
            now = [e for e, _ in some]
            given = [self._renderer.encode(first.given) if first.given else () for _, first in some]
            prompts = {i: opening[e.problem.id] + given[i] for i, e in enumerate(now)}
            for engine, base in ((self._engine, False), (self._base, True)):
                chosen = {i: prompt for i, prompt in prompts.items() if some[i][1].base is base}
                now = self._said(engine, now, chosen, sampling_params[0], seed)
            self._base.sync_weights()
            for i, (_, first) in enumerate(some):
                turn = now[i].turns[0]
                reply = replace(turn.reply, text=first.given + turn.reply.text)
                now[i] = replace(now[i], turns=(replace(turn, reply=reply, drawn=not first.base),))
            episodes += self.continue_episodes(now, sampling_params[1:], seed)
        return episodes

    def continue_episodes(
        self, episodes: list[Episode], sampling_params: Sequence[SamplingParams], seed: Seed
    ) -> list[Episode]:
        """The episodes with a turn more for each entry of ``sampling_params``, as long as the dialogue has something
        to say."""
        for draws in sampling_params:
            episodes = self._said(self._engine, episodes, self._followed(episodes), draws, seed)
        return episodes

    def build_episode(self, problem: Problem, replies: Sequence[tuple[Completion, bool]]) -> Episode:
        """The episode in which these were the replies, one a turn; False: context, and never trained."""
        episode = Episode(problem, 0, ())
        for reply, trained in replies:
            prompt = (
                self._followed([episode])[0]
                if episode.turns
                else self._renderer.build_generation_prompt(self._task.render_prompt(problem))
            )
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
        messages = list(self._task.render_prompt(episode.problem))
        for k, turn in enumerate(episode.turns):
            messages.append(Message("assistant", turn.reply.text))
            next_message = self._dialogue.next_message(replace(episode, turns=episode.turns[: k + 1]))
            if next_message is not None and k + 1 < len(episode.turns):
                messages.append(next_message)
        return [{"role": m.role, "content": m.content} for m in messages]

    def answer(self, problem: Problem, reply: Completion) -> str | None:
        """The final answer that a reply states, right or wrong; None where it states none."""
        return self._task.grade(problem, reply.text).answer

    def _followed(self, episodes: Sequence[Episode]) -> dict[int, tuple[int, ...]]:
        """The next prompt of each episode that the dialogue has more to say to."""
        prompts: dict[int, tuple[int, ...]] = {}
        for i, episode in enumerate(episodes):
            if (message := self._dialogue.next_message(episode)) is not None:
                last = episode.turns[-1]
                prompts[i] = self._renderer.following(last.prompt, last.reply, message, len(episode.turns))
        return prompts

    def _said(
        self,
        engine: Engine,
        episodes: list[Episode],
        prompts: dict[int, tuple[int, ...]],
        sampling_params: SamplingParams,
        seed: Seed,
    ) -> list[Episode]:
        """The episodes that have a prompt with one more turn each; the others as they are."""
        seeds = [
            (*seed, crc32(episodes[i].problem.id.encode()), episodes[i].sample, len(episodes[i].turns)) for i in prompts
        ]
        asked = list(zip(prompts.values(), seeds, strict=True))
        replies = collectives.map_sharded(
            asked, lambda mine: engine.sample([p for p, _ in mine], sampling_params, [s for _, s in mine])
        )
        self.sampled_tokens += sum(sum(reply.own) for reply in replies)
        turned = dict(zip(prompts, replies, strict=True))
        return [
            replace(e, turns=(*e.turns, Turn(prompts[i], turned[i], temperature=sampling_params.temperature)))
            if i in turned
            else e
            for i, e in enumerate(episodes)
        ]
