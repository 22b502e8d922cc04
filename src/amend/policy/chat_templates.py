"""Provide chat templates for models without one, such as base models.

The template ``plain`` marks the roles with plain words and ends every reply with the model's end token. A longer
conversation only appends to the text of a shorter one:

    Question:
    <user message>

    Answer:
    <reply><end token>

    Question:
    ...

If the tokenizer begins every text with a special token, such as ``<s>`` of Llama 2, then ``plain`` does so, too.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from amend.errors import UserError

PLAIN = (
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ m['content'] }}\n\n"
    "{% elif m['role'] == 'user' %}Question:\n{{ m['content'] }}\n\n"
    "{% else %}Answer:\n{{ m['content'] }}{{ eos_token }}\n\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Answer:\n{% endif %}"
)
NAMED = {"plain": PLAIN}


def set_chat_template(tokenizer: PreTrainedTokenizerBase, template: str, name: str) -> None:
    """Set the chat template of a tokenizer.

    Args:
        tokenizer: The tokenizer, which is changed.
        template: ``own`` for the template of the tokenizer, a name in ``NAMED``, or the path of a Jinja file.
        name: The name of the model in error messages.

    Raises:
        UserError: If the file does not exist, or if the tokenizer has no template of its own.
    """
    if template in NAMED:
        first = list(tokenizer("")["input_ids"])[:1]
        has_bos = bool(first) and first[0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{ bos_token }}" if has_bos else "") + NAMED[template]
    elif template != "own":
        try:
            tokenizer.chat_template = Path(template).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(
                f"policy.chat_template={template}: no such file ({error}); allowed: own, {', '.join(NAMED)}, or "
                f"the path of a Jinja chat template"
            ) from error
    if not tokenizer.chat_template:
        raise UserError(
            f"policy={name}: its tokenizer has no chat template, as is usual for a base model; allowed: "
            f"policy.chat_template={' or '.join(NAMED)}, or the path of a Jinja chat template"
        )
    if not isinstance(tokenizer.chat_template, str):  # several templates by name; "default" is for conversations
        tokenizer.chat_template = dict(tokenizer.chat_template).get("default") or next(iter(tokenizer.chat_template))
