"""Render messages to tokens, append-only: the tokens of earlier messages never change.

A chat template renders a whole conversation to text. Training needs more: the prompt of the second turn must consist of
the tokens of the first turn and appended tokens. Therefore ``ChatRenderer`` renders the template once for the first
prompt, and once around a placeholder reply, to find the text between a reply and the next one. It rejects a template
that rewrites earlier messages, and names the reason. Examples are templates that drop earlier reasoning or move the
system prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from amend.errors import UserError
from amend.types import Completion, Message, Tokens

# Two placeholder replies. Templates that remove reasoning from earlier turns change only the reply with <think>.
REPLY = "amend said so"
PROBES = (REPLY, f"<think>\nfirst\n</think>\n{REPLY}")
# Llama 3's templates contain a date. The date of the day would change the prompts of a run every day.
TEMPLATE_DATE = "26 Jul 2024"
# A text is encoded after one of these prefixes, so that it does not count as the beginning of a text.
ENCODING_PREFIXES = ("\n", "|")
EMPTY_THOUGHT = re.compile(r"\s*<think>\s*</think>\s*")


class ChatRenderer:
    """Renders conversations to tokens for one tokenizer.

    With ``enable_thinking=False``, some templates begin a reply with an empty thought and remove it from earlier turns.
    The renderer keeps this empty thought, so that earlier tokens do not change.

    Args:
        tokenizer: The tokenizer, with a chat template.
        ends: The tokens that end a reply.
        name: The name of the model in error messages.
        system_prompt: The text of the system message; "": no system message.
        enable_thinking: The template argument of this name; None: the template's default.

    Raises:
        UserError: If the tokenizer has no chat template, or if ``enable_thinking`` is not None and the template does
            not know this argument. The methods raise it if the template does not only append.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        ends: Sequence[int],
        name: str,
        system_prompt: str,
        enable_thinking: bool | None,
    ) -> None:
        self._tokenizer, self._name = tokenizer, name
        self._system_prompt, self._enable_thinking = system_prompt, enable_thinking
        self._message_tokens: dict[Message, Tokens] = {}
        self._checked_for_later_turns: set[Message] = set()  # messages that may follow the second and later replies
        # SentencePiece adds a space before the beginning of a text, but a fragment is not the beginning of a text.
        self._adds_space = str(tokenizer.decode([*self.encode_document("a"), *self.encode_document("a")])) == "a a"
        if not tokenizer.chat_template:
            raise UserError(f"policy={name}: its tokenizer has no chat template; allowed: policy.chat_template=plain")
        if enable_thinking is not None and "enable_thinking" not in str(tokenizer.chat_template):
            raise UserError(
                f"policy.enable_thinking={str(enable_thinking).lower()}: {name}'s chat template has no "
                f"enable_thinking; allowed: null"
            )
        try:
            self._lead, gap = self._split_template(Message("user", "amend"), REPLY)
        except UserError:  # ``render_message`` raises it again, but only a second turn needs it
            self._lead, gap = "", ""
        template_end = self._find_template_end(gap)
        self.template_ends = bool(template_end)  # whether the template puts an end token after a reply
        self._end_token = int((*template_end, tokenizer.eos_token_id)[0])
        self.ends: tuple[int, ...] = tuple(dict.fromkeys((*ends, *template_end)))  # all tokens that end a reply

    def _apply_template(self, messages: Sequence[Message]) -> str:
        """Return the text of a conversation, up to the beginning of the next reply."""
        conversation = [{"role": m.role, "content": m.content} for m in messages]
        if self._system_prompt:
            if conversation[0]["role"] == "system":
                conversation[0]["content"] = f"{self._system_prompt}\n\n{conversation[0]['content']}"
            else:
                conversation.insert(0, {"role": "system", "content": self._system_prompt})
        extras: dict[str, Any] = {} if self._enable_thinking is None else {"enable_thinking": self._enable_thinking}
        try:
            text = self._tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=True, date_string=TEMPLATE_DATE, **extras
            )
        except TemplateError as error:
            system = ", or policy.system_prompt=null" if conversation[0]["role"] == "system" else ""
            raise UserError(
                f"policy={self._name}: its chat template refuses a conversation of "
                f"{', '.join(turn['role'] for turn in conversation)} ({str(error).strip()}); allowed: another "
                f"policy.chat_template{system}"
            ) from error
        assert isinstance(text, str)  # the result for one conversation without tokenization
        return text

    def encode_document(self, text: str) -> Tokens:
        """Return the tokens of a text that is the beginning of a document, without special tokens."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def encode(self, text: str) -> Tokens:
        """Return the tokens of a text that follows other text, without special tokens or an added space."""
        for prefix in ENCODING_PREFIXES if self._adds_space else ():
            before, both = self.encode_document(prefix), self.encode_document(prefix + text)
            if both[: len(before)] == before:
                return both[len(before) :]
        return self.encode_document(text)

    def decodes_same_when_joined(self, before: str, text: str) -> bool:
        """Return whether two texts, encoded separately and joined, decode to the same text as encoded together."""
        encodings = ((*self.encode_document(before), *self.encode(text)), self.encode_document(before + text))
        separate, together = (
            self._tokenizer.decode(list(tokens), clean_up_tokenization_spaces=False) for tokens in encodings
        )
        return separate == together

    def decode(self, tokens: Tokens) -> str:
        """Return the text of sampled tokens, without the end token."""
        content = tokens[:-1] if tokens and tokens[-1] in self.ends else tokens
        return str(self._tokenizer.decode(list(content), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def tokens_ending_in(self, mark: str) -> frozenset[int]:
        """Return the tokens whose text ends in ``mark``, except end tokens and special tokens.

        ``mark`` must be a printable ASCII character, because vocabularies store only such characters unchanged.
        """
        tokens = (number for word, number in self._tokenizer.get_vocab().items() if word.endswith(mark))
        return frozenset(tokens) - set(self.ends) - set(self._tokenizer.all_special_ids)

    def build_generation_prompt(self, messages: Sequence[Message]) -> Tokens:
        """Return the tokens of the first prompt, up to the beginning of the reply."""
        return self.encode_document(self._apply_template(messages))

    def render_message(self, message: Message, num_replies: int = 1) -> Tokens:
        """Return the tokens between a reply and the next one, with a message between the two replies.

        Args:
            message: The message after the reply.
            num_replies: The number of replies before the message.

        Raises:
            UserError: If the template does not only append.
        """
        if message not in self._message_tokens:
            # If thinking is off, replies contain only the template's empty thought, so the second probe is not needed.
            probes = PROBES[:1] if self._enable_thinking is False else PROBES
            gaps = {self._split_template(message, probe)[1] for probe in probes}
            if len(gaps) > 1:
                raise UserError(
                    f"policy={self._name}: the text that its chat template puts after a reply depends on the reply"
                )
            self._message_tokens[message] = self.encode(gaps.pop())
        if num_replies > 1 and message not in self._checked_for_later_turns:
            for probe in PROBES[:1] if self._enable_thinking is False else PROBES:
                self._check_later_turns(message, probe)
            self._checked_for_later_turns.add(message)
        return self._message_tokens[message]

    def _split_template(self, message: Message, probe: str) -> tuple[str, str]:
        """Return the texts that the template puts before and after a reply.

        The first text stands between the end of the generation prompt and the reply, such as the space of Llama 2. The
        model samples this text as part of its reply. The second text stands between the reply and the next reply.
        """
        question, reply = Message("user", "amend"), Message("assistant", probe)
        prompt, conversation = self._apply_template([question]), self._apply_template([question, reply, message])
        start = conversation.find(probe)
        if start < 0:
            reason = "drops the reasoning of earlier replies (<think> to </think>)"
            raise self._rewrite_error(reason if "<think>" in probe else "rewrites the reply")
        lead = conversation[:start].removeprefix(prompt) if conversation.startswith(prompt) else ""
        omitted = prompt[start:]
        if lead.strip() or not (prompt + lead).startswith(conversation[:start]):
            raise self._rewrite_error("rewrites the conversation before the reply")
        if omitted and not (self._enable_thinking is False and EMPTY_THOUGHT.fullmatch(omitted)):
            raise self._rewrite_error(f"opens a reply with {omitted!r} and omits this text from earlier replies")
        return lead, conversation[start + len(probe) :]

    def _check_later_turns(self, message: Message, probe: str) -> None:
        """Reject a template that appends the second turn but rewrites the first two turns when the third is added."""
        lead, gap = self._split_template(message, probe)
        question, reply = Message("user", "amend"), Message("assistant", probe)
        two_turns, three_turns = (self._apply_template([question, *[reply, message] * turns]) for turns in (1, 2))
        third_turn = lead + probe + gap
        prefix = three_turns.removesuffix(third_turn)
        omitted = two_turns.removeprefix(prefix) if two_turns.startswith(prefix) else two_turns
        omits_thought = self._enable_thinking is False and EMPTY_THOUGHT.fullmatch(omitted)
        if prefix == three_turns or (omitted and not omits_thought):
            raise self._rewrite_error("leaves the first turn alone, and rewrites the first two")

    def _rewrite_error(self, reason: str) -> UserError:
        """Return the error for a template that does not only append."""
        return UserError(
            f"policy={self._name}: its chat template {reason} when a turn is added, so the trained tokens would differ "
            f"from the sampled tokens; allowed: policy.enable_thinking=false for a template that knows enable_thinking,"
            f" policy.chat_template=plain or the path of a template that only appends, or dialogue=single"
        )

    def _find_template_end(self, after: str) -> Tokens:
        """Return the special token with which the template ends a reply, if there is one.

        The model samples this token, even if its generation config does not list it. ``after`` is the text that the
        template puts after a reply.
        """
        gap = self.encode(after)
        first = next((token for token in gap if not self._is_blank(token)), None)
        added = self._tokenizer.added_tokens_decoder
        special = {*self._tokenizer.all_special_ids, *(token for token, entry in added.items() if entry.special)}
        return (first,) if first in special - {self._tokenizer.unk_token_id} else ()

    def _is_blank(self, token: int) -> bool:
        """Return whether the text of a token is empty or only white space."""
        return not str(self._tokenizer.decode([token], skip_special_tokens=False)).strip()

    def render_reply(self, text: str) -> Tokens:
        """Return the tokens with which the model would begin a reply with this text.

        They include the white space that the template puts before each reply.
        """
        return self.encode(self._lead + text)

    def render_complete_reply(self, text: str) -> Tokens:
        """Return the tokens of a complete reply with this text, including the end token that the template expects."""
        return (*self.render_reply(text), self._end_token)

    def build_next_prompt(self, prompt: Tokens, reply: Completion, message: Message, num_replies: int = 1) -> Tokens:
        """Return the prompt of the next turn: the previous prompt, the reply and the message.

        If the reply already ends with the template's end token, the token is not repeated.

        Args:
            prompt: The prompt of the current turn.
            reply: The reply of the current turn.
            message: The message after the reply.
            num_replies: The number of replies so far, including this reply.

        Raises:
            UserError: If the template does not only append.
        """
        gap = self.render_message(message, num_replies)
        if reply.tokens and reply.tokens[-1] in self.ends:
            first = next((i for i, token in enumerate(gap) if not self._is_blank(token)), len(gap))
            if first < len(gap) and gap[first] == reply.tokens[-1]:
                gap = gap[first + 1 :]
        return prompt + reply.tokens + gap
