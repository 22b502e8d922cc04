"""Chat templates of our own, for models that have none: a base model was never shown a conversation.

``plain`` says who speaks in words, ends every reply with the model's own end token, and only ever appends:

    Question:
    <the user>

    Answer:
    <the model><end>

    Question:
    ...

Where the tokenizer begins every text with a token of its own (Llama 2's ``<s>``), so does ``plain``.
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
    """Gives ``tokenizer`` its chat template: "own", one of ``NAMED``, or the Jinja file at a path. UserError where
    there is none."""
    if template in NAMED:
        first = list(tokenizer("")["input_ids"])[:1]
        begins = bool(first) and first[0] == tokenizer.bos_token_id
        tokenizer.chat_template = ("{{ bos_token }}" if begins else "") + NAMED[template]
    elif template != "own":
        try:
            tokenizer.chat_template = Path(template).expanduser().read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UserError(
                f"policy.chat_template={template}: no such file ({error}); allowed: own, {', '.join(NAMED)}, or "
                f"the path of "
                f"a Jinja chat template"
            ) from error
    if not tokenizer.chat_template:
        raise UserError(
            f"policy={name}: its tokenizer has no chat template, as base models' have none; allowed: "
            f"policy.chat_template={' or '.join(NAMED)}, or the path of a Jinja chat template"
        )
    if not isinstance(tokenizer.chat_template, str):  # several, by name; "default" is the one for conversations
        tokenizer.chat_template = dict(tokenizer.chat_template).get("default") or next(iter(tokenizer.chat_template))
