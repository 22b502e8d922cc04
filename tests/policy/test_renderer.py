"""The renderer appends and never rewrites; a template that rewrites is refused by name, with the reason (law 2)."""

from __future__ import annotations

import pytest

from amend.errors import UserError
from amend.policy import tokenizer as tokenizers
from amend.policy.renderer import Renderer
from amend.types import Message
from toys import completion

ASK, AGAIN = Message("user", "a"), Message("user", "b")

STRIPS_THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<assistant>{{ m.content.split('</think>')[-1] }}<end>"
    "{% else %}<user>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
COUNTS = "{{ messages | length }}" + tokenizers.TEMPLATE
FORGETS_THE_REPLY = "{{ messages[-1].content }}<user>{{ messages | length }}<assistant>"


def renderer(template: str = tokenizers.TEMPLATE) -> Renderer:
    tokenizer = tokenizers.build("ab", [], 64)
    tokenizer.chat_template = template
    return Renderer(tokenizer, [4], "toy", system="", thinking=None)


def test_turn_two_extends_turn_one() -> None:
    made = renderer()
    opening = made.opening([ASK])
    assert opening == (2, 5, 3)  # <user> a <assistant>
    reply = completion([6, 4])
    assert made.following(opening, reply, AGAIN) == opening + (6, 4, 2, 6, 3)


def test_the_end_token_stands_once_whether_the_model_wrote_it_or_not() -> None:
    made = renderer()
    for drawn in ([6, 4], [6]):  # ended; cut at the length limit
        assert made.following((2, 5, 3), completion(drawn), AGAIN) == (2, 5, 3, 6, 4, 2, 6, 3)


def test_what_was_drawn_is_kept_even_where_it_would_be_tokenised_otherwise() -> None:
    """The reply's ids are copied, not its text: an unknown token stays what it was."""
    assert renderer().following((2, 5, 3), completion([1, 0, 4]), AGAIN)[3:6] == (1, 0, 4)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (STRIPS_THINKING, "drops the reasoning of earlier replies"),
        (FORGETS_THE_REPLY, "rewrites the reply"),
        (COUNTS, "rewrites the conversation before"),
    ],
)
def test_a_template_that_rewrites_is_refused(template: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        renderer(template).between(AGAIN)


def test_no_template_is_refused() -> None:
    with pytest.raises(UserError, match="no chat template"):
        renderer("")
