"""From messages to tokens, append-only: what was said is never rendered again.

A chat template is a function from a whole conversation to text. Training needs more: the second turn's prompt must be
the first turn's very tokens with something appended. So the template is asked once for the opening, and once, around a
stand-in reply, for what it puts between a reply and the next one; a template that rewrites what came before (dropping
earlier reasoning, moving a system prompt) is refused by name, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from amend.errors import UserError
from amend.types import Completion, Message, Tokens

# Two stand-ins, one with reasoning marks: templates that strip "thinking" from earlier turns change only the second.
REPLY = "amend said so"
PROBES = (REPLY, f"<think>\nfirst\n</think>\n{REPLY}")
DAY = "26 Jul 2024"  # Llama 3's templates print today's date: the same run tomorrow would have other prompts
SEAMS = ("\n", "|")  # what a text is encoded after, so that it is not taken for the beginning of one
EMPTY_THOUGHT = re.compile(r"\s*<think>\s*</think>\s*")


class ChatRenderer:
    """Renders conversations for one tokenizer. Raises UserError where its chat template cannot be extended.

    ``system`` is said before anything else ("": nothing). ``thinking`` is what templates know as enable_thinking; None
    leaves it to them, and False keeps the empty thought that such a template opens a reply with where it stands, while
    the template itself would drop it from earlier turns.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        ends: Sequence[int],
        name: str,
        system: str,
        thinking: bool | None,
    ) -> None:
        self._tokenizer, self._name, self._system, self._thinking = tokenizer, name, system, thinking
        self._between: dict[Message, Tokens] = {}
        self._further: set[Message] = set()  # what may be said after a second reply, and later
        # SentencePiece writes a space before whatever it takes for a text's beginning; a fragment is none.
        self._spaces = str(tokenizer.decode([*self.encode_document("a"), *self.encode_document("a")])) == "a a"
        if not tokenizer.chat_template:
            raise UserError(f"policy={name}: its tokenizer has no chat template; allowed: policy.chat_template=plain")
        if thinking is not None and "enable_thinking" not in str(tokenizer.chat_template):
            raise UserError(
                f"policy.enable_thinking={str(thinking).lower()}: {name}'s chat template has no enable_thinking; "
                f"allowed: null"
            )
        try:
            self._lead, gap = self._around(Message("user", "amend"), REPLY)
        except UserError:  # said when a second turn is asked for
            self._lead, gap = "", ""
        own = self._templates_end(gap)
        self.template_ends = bool(own)  # whether the template puts an end token after a reply
        self._end = int((*own, tokenizer.eos_token_id)[0])  # a finished reply's
        self.ends: tuple[int, ...] = tuple(dict.fromkeys((*ends, *own)))  # all that finish one

    def _text(self, messages: Sequence[Message]) -> str:
        conversation = [{"role": m.role, "content": m.content} for m in messages]
        if self._system:
            if conversation[0]["role"] == "system":
                conversation[0]["content"] = f"{self._system}\n\n{conversation[0]['content']}"
            else:
                conversation.insert(0, {"role": "system", "content": self._system})
        extras: dict[str, Any] = {} if self._thinking is None else {"enable_thinking": self._thinking}
        try:
            text = self._tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, date_string=DAY, **extras
            )
        except TemplateError as error:
            system = ", or policy.system_prompt=null" if conversation[0]["role"] == "system" else ""
            raise UserError(
                f"policy={self._name}: its chat template refuses a conversation of "
                f"{', '.join(turn['role'] for turn in conversation)} ({str(error).strip()}); allowed: another "
                f"policy.chat_template{system}"
            ) from error
        assert isinstance(text, str)  # one conversation in, one text out
        return text

    def encode_document(self, text: str) -> Tokens:
        """The tokens of a text that nothing comes before."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, text: str) -> Tokens:
        """The tokens of a text that comes after others, nothing added."""
        for seam in SEAMS if self._spaces else ():
            before, both = self.encode_document(seam), self.encode_document(seam + text)
            if both[: len(before)] == before:
                return both[len(before) :]
        return self.encode_document(text)

    def joins(self, before: str, text: str) -> bool:
        """Whether a text that is encoded by itself and put after another reads as if both were encoded together."""
        ways = ((*self.encode_document(before), *self.encode(text)), self.encode_document(before + text))
        one, other = (self._tokenizer.decode(list(way), clean_up_tokenization_spaces=False) for way in ways)
        return one == other

    def decode(self, tokens: Tokens) -> str:
        """The text of drawn tokens, the end token left out."""
        kept = tokens[:-1] if tokens and tokens[-1] in self.ends else tokens
        return str(self._tokenizer.decode(list(kept), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def ending(self, mark: str) -> frozenset[int]:
        """The tokens whose text ends in ``mark``, a printable ASCII character (which vocabularies spell as itself)."""
        found = (number for word, number in self._tokenizer.get_vocab().items() if word.endswith(mark))
        return frozenset(found) - set(self.ends) - set(self._tokenizer.all_special_ids)

    def build_generation_prompt(self, messages: Sequence[Message]) -> Tokens:
        """The tokens of the first prompt, up to where the model speaks."""
        return self.encode_document(self._text(messages))

    def render_message(self, message: Message, replies: int = 1) -> Tokens:
        """The tokens from the end of a reply, the ``replies``-th, to where the model speaks again, ``message`` said in
        between."""
        if message not in self._between:
            # With thinking off the thought is the template's own and empty, so what it does to others does not matter.
            probes = PROBES[:1] if self._thinking is False else PROBES
            gaps = {self._around(message, probe)[1] for probe in probes}
            if len(gaps) > 1:
                raise UserError(f"policy={self._name}: what its chat template puts after a reply depends on the reply")
            self._between[message] = self.encode(gaps.pop())
        if replies > 1 and message not in self._further:
            for probe in PROBES[:1] if self._thinking is False else PROBES:
                self._look_further(message, probe)
            self._further.add(message)
        return self._between[message]

    def _around(self, message: Message, probe: str) -> tuple[str, str]:
        """What the template writes before a reply beyond where the model was told to speak, which the model then says
        itself (Llama 2's space), and what it writes from the reply to where the model speaks again."""
        opening, said = Message("user", "amend"), Message("assistant", probe)
        before, after = self._text([opening]), self._text([opening, said, message])
        at = after.find(probe)
        if at < 0:
            thought = "drops the reasoning of earlier replies (<think> to </think>)"
            raise self._refused(thought if "<think>" in probe else "rewrites the reply")
        lead = after[:at].removeprefix(before) if after.startswith(before) else ""
        forgotten = before[at:]
        if lead.strip() or not (before + lead).startswith(after[:at]):
            raise self._refused("rewrites the conversation before the reply")
        if forgotten and not (self._thinking is False and EMPTY_THOUGHT.fullmatch(forgotten)):
            raise self._refused(f"opens a reply with {forgotten!r} and leaves that out of earlier replies")
        return lead, after[at + len(probe) :]

    def _look_further(self, message: Message, probe: str) -> None:
        """Refuses a template that appends a second turn, and rewrites the first two when a third is added."""
        lead, gap = self._around(message, probe)
        opening, said = Message("user", "amend"), Message("assistant", probe)
        two, three = (self._text([opening, *[said, message] * turns]) for turns in (1, 2))
        added = lead + probe + gap
        kept = three.removesuffix(added)
        thought = two.removeprefix(kept) if two.startswith(kept) else two
        if kept == three or (thought and not (self._thinking is False and EMPTY_THOUGHT.fullmatch(thought))):
            raise self._refused("leaves the first turn alone, and rewrites the first two")

    def _refused(self, what: str) -> UserError:
        """The line for a template that does not only append."""
        return UserError(
            f"policy={self._name}: its chat template {what} when a turn is added, so tokens drawn could not be the "
            f"tokens trained; allowed: policy.enable_thinking=false for a template that knows enable_thinking, "
            f"policy.chat_template=plain or the path of one that only appends, or dialogue=single"
        )

    def _templates_end(self, after: str) -> Tokens:
        """The special token that the template ends a reply with, where there is one: the model will say it too,
        whether or not its generation config lists it. ``after``: what the template writes after a reply."""
        gap = self.encode(after)
        first = next((token for token in gap if not self._blank(token)), None)
        added = self._tokenizer.added_tokens_decoder
        special = {*self._tokenizer.all_special_ids, *(token for token, how in added.items() if how.special)}
        return (first,) if first in special - {self._tokenizer.unk_token_id} else ()

    def _blank(self, token: int) -> bool:
        return not str(self._tokenizer.decode([token], skip_special_tokens=False)).strip()

    def render_reply(self, text: str) -> Tokens:
        """A text as the model would begin to say it: after the space or line that the template puts before a reply and
        nowhere else."""
        return self.encode(self._lead + text)

    def reply(self, text: str) -> Tokens:
        """A text as the model would have said it: its tokens, and the end token that the template goes on from."""
        return (*self.render_reply(text), self._end)

    def following(self, prompt: Tokens, reply: Completion, message: Message, replies: int = 1) -> Tokens:
        """The next turn's prompt: everything so far, the ``replies``-th reply included, then ``message``. The reply's
        own end token is not doubled."""
        gap = self.render_message(message, replies)
        if reply.tokens and reply.tokens[-1] in self.ends:
            first = next((i for i, token in enumerate(gap) if not self._blank(token)), len(gap))
            if first < len(gap) and gap[first] == reply.tokens[-1]:
                gap = gap[first + 1 :]
        return prompt + reply.tokens + gap
