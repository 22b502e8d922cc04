"""An engine with a tool that the policy can call while it writes a reply.

    policy samples   ... 48/2 = <<48/2=                       the call; sampled, and trained
    tool writes                            24>>               context; not trained, and not counted as sampled tokens
    policy samples                             24 clips ...   after the tool's text

A reply keeps the tokens that were sampled. The tool's text is encoded separately and inserted; no other token is
encoded again. The tool's tokens have log-probability 0 and ``sampled`` False. They count only towards the length of the
reply.

The engine is asked to pause at the tokens that can end a call (``SamplingParams.pause``). An engine without pauses
works as well: the tokens that it sampled after a call are dropped, because they lack the tool's text as context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from amend.policy.chat_renderer import ChatRenderer
from amend.rollout.base import Engine, Seed
from amend.task.tools import Tool
from amend.types import Completion, SamplingParams, Stop, Tokens


@dataclass
class _Reply:
    """An unfinished reply."""

    tokens: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    sampled: list[bool] = field(default_factory=list)
    parts: int = 0  # the number of calls of the engine
    stop: Stop = "pause"

    def add(self, tokens: Tokens, logp: Sequence[float], sampled: bool) -> None:
        """Append tokens."""
        self.tokens += tokens
        self.logp += logp
        self.sampled += [sampled] * len(tokens)


class ToolEngine:
    """An engine that inserts the answers of a tool into the replies of another engine.

    Args:
        engine: The engine that samples. ``max_tokens`` limits the sampled tokens and the tool's tokens together.
        tool: The tool.
        renderer: The renderer that encodes the tool's text.
    """

    def __init__(self, engine: Engine, tool: Tool, renderer: ChatRenderer) -> None:
        self._engine, self._tool, self._renderer = engine, tool, renderer
        self._pause = renderer.tokens_ending_in(tool.end_mark)
        self.max_batch_size, self.importance_sampling_cap = engine.max_batch_size, engine.importance_sampling_cap

    def sync_weights(self) -> None:
        """Update the engine after a change of the weights."""
        self._engine.sync_weights()

    def reference_engine(self) -> ToolEngine:
        """Return an engine that samples from the reference model with the same tool."""
        return ToolEngine(self._engine.reference_engine(), self._tool, self._renderer)

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """Sample one completion for each prompt; see ``Engine``. A reply without a call is the engine's own reply."""
        replies = [_Reply() for _ in prompts]
        while unfinished := [i for i, reply in enumerate(replies) if reply.stop == "pause"]:
            room = max(sampling_params.max_tokens - len(replies[i].tokens) for i in unfinished)
            parts = self._engine.sample(
                [prompts[i] + tuple(replies[i].tokens) for i in unfinished],
                replace(sampling_params, max_tokens=room, pause=self._pause),
                [(*seeds[i], replies[i].parts) if replies[i].parts else seeds[i] for i in unfinished],
            )
            for i, part in zip(unfinished, parts, strict=True):
                self._extend(replies[i], part, sampling_params.max_tokens)
        return [self._to_completion(reply) for reply in replies]

    def _extend(self, reply: _Reply, part: Completion, max_tokens: int) -> None:
        """Append the sampled tokens to the reply up to the first call, and then the tool's answer to it."""
        reply.parts += 1
        before, room = tuple(reply.tokens), max_tokens - len(reply.tokens)
        for end in (i for i, token in enumerate(part.tokens[:room]) if token in self._pause):
            answer = self._tool.answer(self._renderer.decode(before + part.tokens[: end + 1]))
            if answer is None:
                continue
            tool_tokens = self._renderer.encode(answer)
            reply.add(part.tokens[: end + 1], part.logp[: end + 1], sampled=True)
            if end + 1 + len(tool_tokens) < room:  # the policy needs room for at least one more token
                reply.add(tool_tokens, [0.0] * len(tool_tokens), sampled=False)
            else:
                reply.stop = "length"
            return
        reply.add(part.tokens[:room], part.logp[:room], sampled=True)
        is_cut = len(part.tokens) > room or (part.stop == "pause" and len(part.tokens) == room)
        reply.stop = "length" if is_cut else part.stop

    def _to_completion(self, reply: _Reply) -> Completion:
        text = self._renderer.decode(tuple(reply.tokens))
        sampled = () if all(reply.sampled) else tuple(reply.sampled)
        return Completion(tuple(reply.tokens), tuple(reply.logp), text, reply.stop, sampled)


def text_to_completion(tool: Tool, renderer: ChatRenderer, text: str) -> Completion:
    """Return a text as a completion that the policy and its tool wrote, and that the policy ended.

    Args:
        tool: The tool, which splits the text into its own part and the policy's part.
        renderer: The renderer that encodes the text.
        text: The text of the reply.

    Returns:
        The completion. Its log-probabilities are set to 0.
    """
    tokens: list[int] = []
    sampled: list[bool] = []
    for piece, is_tool in tool.split_reply(text):
        piece_tokens = renderer.encode(piece) if tokens else renderer.render_reply(piece)
        tokens += piece_tokens
        sampled += [not is_tool] * len(piece_tokens)
    if not tokens:
        return Completion(end := renderer.render_complete_reply(text), (0.0,) * len(end), text, "end")
    tokens.append(renderer.render_complete_reply("")[-1])
    sampled.append(True)
    return Completion(tuple(tokens), (0.0,) * len(tokens), text, "end", () if all(sampled) else tuple(sampled))
