"""The built-in model's tokenizer: one token a character, and one for each phrase that the built-in problems repeat.

Characters keep arithmetic honest (a number is its digits); the phrases keep sequences short on a laptop. Any ASCII text
encodes and decodes to itself, so a user's own questions work too, spelled out. The chat template only ever appends, so
a second turn's prompt extends the very tokens of the first.
"""

from __future__ import annotations

import string

from tokenizers import AddedToken, Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, USER, ASSISTANT, END = "<pad>", "<unk>", "<user>", "<assistant>", "<end>"

TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}<assistant>{{ m['content'] }}<end>{% else %}<user>{{ m['content'] }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


ASCII = "".join(c for c in string.printable if c not in "\r\x0b\x0c")


def build_tokenizer(characters: str, phrases: list[str], longest: int) -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each of ``characters`` and each phrase; ``longest`` is the model's context."""
    special = [PAD, UNKNOWN, USER, ASSISTANT, END]
    core = Tokenizer(models.BPE({token: i for i, token in enumerate([*special, *characters])}, [], unk_token=UNKNOWN))
    core.decoder = decoders.Fuse()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    core.add_tokens([AddedToken(phrase, normalized=False) for phrase in phrases])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=longest,
    )
