"""Between play and an engine: a tool that the policy calls while it writes, so that the policy is model and tool.

    model draws    ... 48/2 = <<48/2=                       the call; drawn, and trained
    tool writes                          24>>               context: read by the model, never trained, never counted
    model draws                              24 clips ...   in that context

The tokens of a reply stay the ones that were drawn, with the tool's inserted as they are encoded by themselves; nothing
is rendered or tokenised again. A tool's tokens have log-probability 0 and ``drawn`` False, and count as a part of the
reply's length alone. An engine is asked to pause at the tokens that can end a call (``Sampling.pause``); one that knows
no pauses works as well: what it drew past a call was drawn in a context that never was, and is dropped.
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
    """A reply as far as it has got."""

    tokens: list[int] = field(default_factory=list)
    logp: list[float] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    parts: int = 0  # how often the engine was asked
    stop: Stop = "pause"

    def add(self, tokens: Tokens, logp: Sequence[float], drawn: bool) -> None:
        """Some tokens more."""
        self.tokens += tokens
        self.logp += logp
        self.drawn += [drawn] * len(tokens)


class ToolEngine:
    """An engine whose replies have ``tool``'s answers in them; ``how.max_tokens`` bounds both together."""

    def __init__(self, engine: Engine, tool: Tool, renderer: ChatRenderer) -> None:
        self._engine, self._tool, self._renderer = engine, tool, renderer
        self._pause = renderer.ending(tool.mark)
        self.max_batch_size, self.importance_sampling_cap = engine.max_batch_size, engine.importance_sampling_cap

    def sync_weights(self) -> None:
        """The weights have changed."""
        self._engine.sync_weights()

    def reference_engine(self) -> ToolEngine:
        """The reference with the same tool."""
        return ToolEngine(self._engine.reference_engine(), self._tool, self._renderer)

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        """One completion a prompt; see ``Engine``. A reply without a call is the engine's own, token for token."""
        replies = [_Reply() for _ in prompts]
        while going := [i for i, reply in enumerate(replies) if reply.stop == "pause"]:
            room = max(sampling_params.max_tokens - len(replies[i].tokens) for i in going)
            said = self._engine.sample(
                [prompts[i] + tuple(replies[i].tokens) for i in going],
                replace(sampling_params, max_tokens=room, pause=self._pause),
                [(*seeds[i], replies[i].parts) if replies[i].parts else seeds[i] for i in going],
            )
            for i, more in zip(going, said, strict=True):
                self._go_on(replies[i], more, sampling_params.max_tokens)
        return [self._whole(reply) for reply in replies]

    def _go_on(self, reply: _Reply, more: Completion, longest: int) -> None:
        """The reply with what was drawn, up to its first call, and with the tool's answer to that."""
        reply.parts += 1
        before, room = tuple(reply.tokens), longest - len(reply.tokens)
        for at in (i for i, token in enumerate(more.tokens[:room]) if token in self._pause):
            answer = self._tool.answer(self._renderer.decode(before + more.tokens[: at + 1]))
            if answer is None:
                continue
            written = self._renderer.encode(answer)
            reply.add(more.tokens[: at + 1], more.logp[: at + 1], drawn=True)
            if at + 1 + len(written) < room:  # and something of the policy's own must still fit
                reply.add(written, [0.0] * len(written), drawn=False)
            else:
                reply.stop = "length"
            return
        reply.add(more.tokens[:room], more.logp[:room], drawn=True)
        cut = len(more.tokens) > room or (more.stop == "pause" and len(more.tokens) == room)
        reply.stop = "length" if cut else more.stop

    def _whole(self, reply: _Reply) -> Completion:
        text = self._renderer.decode(tuple(reply.tokens))
        drawn = () if all(reply.drawn) else tuple(reply.drawn)
        return Completion(tuple(reply.tokens), tuple(reply.logp), text, reply.stop, drawn)


def told(tool: Tool, renderer: ChatRenderer, text: str) -> Completion:
    """A text as if the policy and its tool had written it, and the policy ended it; log-probabilities stand as 0."""
    tokens: list[int] = []
    drawn: list[bool] = []
    for piece, is_tool in tool.pieces(text):
        said = renderer.encode(piece) if tokens else renderer.render_reply(piece)
        tokens += said
        drawn += [not is_tool] * len(said)
    if not tokens:
        return Completion(end := renderer.reply(text), (0.0,) * len(end), text, "end")
    tokens.append(renderer.reply("")[-1])
    drawn.append(True)
    return Completion(tuple(tokens), (0.0,) * len(tokens), text, "end", () if all(drawn) else tuple(drawn))
