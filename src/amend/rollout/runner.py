"""Play episodes: sample a reply, append the next message of the dialogue, and sample again.

Algorithms use tasks, dialogues and engines only through ``RolloutRunner``. Tokens are only ever appended. The seed of a
reply is (run seed, iteration, problem, sample, turn), so an episode does not depend on the other episodes of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from zlib import crc32

from amend.dialogue import Dialogue
from amend.distributed import collectives
from amend.policy.chat_renderer import ChatRenderer
from amend.rollout.base import Engine, Seed
from amend.rollout.tool_engine import ToolEngine, text_to_completion
from amend.task.base import Task
from amend.types import Completion, Episode, Message, Prefill, Problem, SamplingParams, Turn

# Returns the prefill of an episode from its problem, its number and the group size; see ``amend.exploration.prefill``.
Prefiller = Callable[[Problem, int, int], Prefill]


def no_prefill(problem: Problem, sample: int, samples: int) -> Prefill:
    """Return no prefill: the policy samples the reply from its first token."""
    return Prefill("", False)


class RolloutRunner:
    """A runner that plays a dialogue on the problems of a task.

    If the task has a tool, both engines use the tool.

    Args:
        engine: The engine that samples from the policy.
        base: The engine that samples from the reference model.
        renderer: The renderer of the policy's chat template.
        task: The task.
        dialogue: The dialogue.

    Attributes:
        sampled_tokens: The number of tokens that both engines have sampled. Tokens that a tool wrote are not counted.
    """

    def __init__(self, engine: Engine, base: Engine, renderer: ChatRenderer, task: Task, dialogue: Dialogue) -> None:
        self._renderer, self._task, self._dialogue = renderer, task, dialogue
        self._tool = task.tool
        self._engine: Engine = ToolEngine(engine, self._tool, renderer) if self._tool else engine
        self._base: Engine = ToolEngine(base, self._tool, renderer) if self._tool else base
        self.sampled_tokens = 0

    @property
    def turns(self) -> int:
        """Return the maximum number of turns of an episode."""
        return self._dialogue.turns

    @property
    def importance_sampling_cap(self) -> float | None:
        """Return the largest importance weight of a token; see ``Engine``."""
        return self._engine.importance_sampling_cap

    @property
    def attempts(self) -> tuple[int, ...]:
        """Return the turns, counted from 0, that are attempts at the problem. Other turns only comment on one."""
        return self._dialogue.attempts

    def sync_weights(self) -> None:
        """Update the engine after a change of the policy's weights."""
        self._engine.sync_weights()

    def __call__(
        self,
        problems: Sequence[Problem],
        samples: int,
        sampling_params: Sequence[SamplingParams],
        seed: Seed,
        start: Prefiller = no_prefill,
    ) -> list[Episode]:
        """Play episodes from their beginning.

        Args:
            problems: The problems.
            samples: The number of episodes of each problem.
            sampling_params: How to sample, for each turn. An episode has at most this number of turns.
            seed: The beginning of every reply's seed.
            start: The function that returns the prefill of an episode. A prefill is context and is not trained. It is
                the beginning of a first reply, or the instruction to sample the first attempt from the reference model.

        Returns:
            ``samples`` episodes of each problem, in the order of the problems.
        """
        first_prompt = {p.id: self._renderer.build_generation_prompt(self._task.render_prompt(p)) for p in problems}
        queue = [(Episode(p, i, ()), start(p, i, samples)) for p in problems for i in range(samples)]
        episodes: list[Episode] = []
        batch_size = self._engine.max_batch_size * collectives.world_size()
        for begin in range(0, len(queue), batch_size):
            part = queue[begin : begin + batch_size]
            current = [e for e, _ in part]
            prefixes = [self._renderer.encode(prefill.given) if prefill.given else () for _, prefill in part]
            prompts = {i: first_prompt[e.problem.id] + prefixes[i] for i, e in enumerate(current)}
            for engine, base in ((self._engine, False), (self._base, True)):
                selected = {i: prompt for i, prompt in prompts.items() if part[i][1].base is base}
                current = self._sample_turn(engine, current, selected, sampling_params[0], seed)
            self._base.sync_weights()
            for i, (_, prefill) in enumerate(part):
                turn = current[i].turns[0]
                reply = replace(turn.reply, text=prefill.given + turn.reply.text)
                current[i] = replace(current[i], turns=(replace(turn, reply=reply, is_trained=not prefill.base),))
            episodes += self.continue_episodes(current, sampling_params[1:], seed)
        return episodes

    def continue_episodes(
        self, episodes: list[Episode], sampling_params: Sequence[SamplingParams], seed: Seed
    ) -> list[Episode]:
        """Append turns to episodes until the dialogue ends.

        Args:
            episodes: Episodes with at least one turn.
            sampling_params: How to sample, for each further turn.
            seed: The beginning of every reply's seed.

        Returns:
            The episodes, each with at most one more turn for each entry of ``sampling_params``.
        """
        for params in sampling_params:
            episodes = self._sample_turn(self._engine, episodes, self._next_prompts(episodes), params, seed)
        return episodes

    def build_episode(self, problem: Problem, replies: Sequence[tuple[Completion, bool]]) -> Episode:
        """Return the episode that consists of given replies.

        Args:
            problem: The problem.
            replies: The reply of each turn, and whether it is trained. A reply that is not trained is context.
        """
        episode = Episode(problem, 0, ())
        for reply, trained in replies:
            prompt = (
                self._next_prompts([episode])[0]
                if episode.turns
                else self._renderer.build_generation_prompt(self._task.render_prompt(problem))
            )
            episode = replace(episode, turns=(*episode.turns, Turn(prompt, reply, is_trained=trained)))
        return episode

    def reply(self, text: str) -> Completion:
        """Return a text as a completion that the policy ended. Its log-probabilities are unknown and set to 0."""
        if self._tool is not None:
            return text_to_completion(self._tool, self._renderer, text)
        tokens = self._renderer.render_complete_reply(text)
        return Completion(tokens, (0.0,) * len(tokens), text, "end")

    def conversation(self, episode: Episode) -> list[dict[str, str]]:
        """Return an episode as messages with ``role`` and ``content``, the format of TRL and of chat templates."""
        messages = list(self._task.render_prompt(episode.problem))
        for k, turn in enumerate(episode.turns):
            messages.append(Message("assistant", turn.reply.text))
            next_message = self._dialogue.next_message(replace(episode, turns=episode.turns[: k + 1]))
            if next_message is not None and k + 1 < len(episode.turns):
                messages.append(next_message)
        return [{"role": m.role, "content": m.content} for m in messages]

    def answer(self, problem: Problem, reply: Completion) -> str | None:
        """Return the final answer that a reply states, right or wrong; None if it states no answer."""
        return self._task.grade(problem, reply.text).answer

    def _next_prompts(self, episodes: Sequence[Episode]) -> dict[int, tuple[int, ...]]:
        """Return the next prompt of each episode that the dialogue continues."""
        prompts: dict[int, tuple[int, ...]] = {}
        for i, episode in enumerate(episodes):
            if (message := self._dialogue.next_message(episode)) is not None:
                last = episode.turns[-1]
                prompts[i] = self._renderer.build_next_prompt(last.prompt, last.reply, message, len(episode.turns))
        return prompts

    def _sample_turn(
        self,
        engine: Engine,
        episodes: list[Episode],
        prompts: dict[int, tuple[int, ...]],
        sampling_params: SamplingParams,
        seed: Seed,
    ) -> list[Episode]:
        """Append one turn to each episode that has a prompt; return the other episodes unchanged."""
        seeds = [
            (*seed, crc32(episodes[i].problem.id.encode()), episodes[i].sample, len(episodes[i].turns)) for i in prompts
        ]
        requests = list(zip(prompts.values(), seeds, strict=True))
        replies = collectives.map_sharded(
            requests, lambda shard: engine.sample([p for p, _ in shard], sampling_params, [s for _, s in shard])
        )
        self.sampled_tokens += sum(sum(reply.loss_mask) for reply in replies)
        reply_of = dict(zip(prompts, replies, strict=True))
        return [
            replace(e, turns=(*e.turns, Turn(prompts[i], reply_of[i], temperature=sampling_params.temperature)))
            if i in reply_of
            else e
            for i, e in enumerate(episodes)
        ]
