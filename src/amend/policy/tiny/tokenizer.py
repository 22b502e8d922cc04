"""Build the tokenizer of the built-in model: one token for each character and for each phrase of the built-in problems.

A number is tokenized into digits, so the model must compute with digits. Phrases shorten the sequences. Printable ASCII
text is encoded and decoded without loss, so other questions work too. The chat template only appends: the prompt of the
second turn begins with exactly the tokens of the first turn.
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
    """Build a tokenizer with one token for each character and each phrase.

    Args:
        characters: The characters of the vocabulary, without duplicates. Other characters become ``<unk>``.
        phrases: Strings that become single tokens.
        longest: Context length of the model, in tokens.

    Returns:
        The tokenizer, with chat template and special tokens.
    """
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
