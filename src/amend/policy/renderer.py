"""From messages to tokens, append-only: what was said is never rendered again.

A chat template is a function from a whole conversation to text. Training needs more: the second turn's prompt must be
the first turn's very tokens with something appended. So the template is asked once for the opening, and once, around a
stand-in reply, for what it puts between a reply and the next one; a template that rewrites what came before (dropping
earlier reasoning, moving a system prompt) is refused by name, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from amend.errors import UserError
from amend.types import Completion, Message, Tokens

# Two stand-ins, one with reasoning marks: templates that strip "thinking" from earlier turns change only the second.
PROBES = ("amend", "<think>\nfirst\n</think>\nthen")


class Renderer:
    """Renders conversations for one tokenizer. Raises UserError where its chat template cannot be extended."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Sequence[int], name: str) -> None:
        self._tokenizer, self._ends, self._name = tokenizer, frozenset(ends), name
        self._between: dict[Message, Tokens] = {}
        if not tokenizer.chat_template:
            raise UserError(f"policy={name}: its tokenizer has no chat template; use an instruct model, or set one")

    def _text(self, messages: Sequence[Message]) -> str:
        conversation = [{"role": m.role, "content": m.content} for m in messages]
        text = self._tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)  # one conversation in, one text out
        return text

    def encode(self, text: str) -> Tokens:
        """The tokens of a text, nothing added."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def opening(self, messages: Sequence[Message]) -> Tokens:
        """The tokens of the first prompt, up to where the model speaks."""
        return self.encode(self._text(messages))

    def between(self, message: Message) -> Tokens:
        """The tokens from the end of a reply to where the model speaks again, ``message`` said in between."""
        if message not in self._between:
            self._between[message] = self.encode(self._gap(message))
        return self._between[message]

    def _gap(self, message: Message) -> str:
        opening = Message("user", "amend")
        before = self._text([opening])
        gaps = set()
        for probe in PROBES:
            after = self._text([opening, Message("assistant", probe), message])
            if not after.startswith(before + probe):
                where = "the reply" if after.startswith(before) else "the conversation before it"
                raise UserError(
                    f"policy={self._name}: its chat template rewrites {where} when a turn is added, so tokens drawn "
                    f"could not be the tokens trained; use a template that only appends"
                )
            gaps.add(after.removeprefix(before + probe))
        if len(gaps) > 1:
            raise UserError(f"policy={self._name}: what its chat template puts after a reply depends on the reply")
        return gaps.pop()

    def reply(self, text: str) -> Tokens:
        """A text as the model would have said it: its tokens, and the end token that the template goes on from."""
        gap = self.between(Message("user", "amend"))
        end = gap[0] if gap and gap[0] in self._ends else self._tokenizer.eos_token_id
        return (*self.encode(text), int(end))

    def following(self, prompt: Tokens, reply: Completion, message: Message) -> Tokens:
        """The next turn's prompt: everything so far, then ``message``. The reply's own end token is not doubled."""
        gap = self.between(message)
        if reply.tokens and gap and reply.tokens[-1] == gap[0] and gap[0] in self._ends:
            gap = gap[1:]
        return prompt + reply.tokens + gap
