"""The renderer appends and never rewrites; a template that rewrites is refused by name, with the reason (law 2)."""

from __future__ import annotations

import pytest
from architectures import ARCHITECTURES, KINDS, tokenizer, trl_template
from toys import completion

from amend.errors import UserError
from amend.policy import chat_templates
from amend.policy.chat_renderer import ChatRenderer
from amend.policy.tiny import tokenizer as tokenizers
from amend.types import Message

ASK, AGAIN = Message("user", "a"), Message("user", "b")

STRIPS_THINKING = (
    "{% for m in messages %}{% if m.role == 'assistant' %}<assistant>{{ m.content.split('</think>')[-1] }}<end>"
    "{% else %}<user>{{ m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
LEADS = (  # in the manner of Llama 2 and Mistral (a space) and of Zephyr (a line): only told replies have it
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'SPACE' + m.content + 'SPACE' }}<end>"
    "{% else %}<user>{{ m.content }}<assistant>{% endif %}{% endfor %}"
)
FORGETS_AT_THREE = "{% if messages | length > 4 %}{% set messages = messages[2:] %}{% endif %}" + tokenizers.TEMPLATE
COUNTS = "{{ messages | length }}" + tokenizers.TEMPLATE
FORGETS_THE_REPLY = "{{ messages[-1].content }}<user>{{ messages | length }}<assistant>"


def renderer(template: str = tokenizers.TEMPLATE) -> ChatRenderer:
    tokenizer = tokenizers.build_tokenizer("ab", [], 64)
    tokenizer.chat_template = template
    return ChatRenderer(tokenizer, [4], "toy", system_prompt="", enable_thinking=None)


def test_turn_two_extends_turn_one() -> None:
    made = renderer()
    opening = made.build_generation_prompt([ASK])
    assert opening == (2, 5, 3)  # <user> a <assistant>
    reply = completion([6, 4])
    assert made.build_next_prompt(opening, reply, AGAIN) == opening + (6, 4, 2, 6, 3)


def test_the_end_token_stands_once_whether_the_model_wrote_it_or_not() -> None:
    made = renderer()
    for drawn in ([6, 4], [6]):  # ended; cut at the length limit
        assert made.build_next_prompt((2, 5, 3), completion(drawn), AGAIN) == (2, 5, 3, 6, 4, 2, 6, 3)


def test_what_was_drawn_is_kept_even_where_it_would_be_tokenised_otherwise() -> None:
    """The reply's ids are copied, not its text: an unknown token stays what it was."""
    assert renderer().build_next_prompt((2, 5, 3), completion([1, 0, 4]), AGAIN)[3:6] == (1, 0, 4)


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
        renderer(template).render_message(AGAIN)


def test_a_template_that_rewrites_at_the_third_turn_will_do_for_two() -> None:
    made, opening = renderer(FORGETS_AT_THREE), (2, 5, 3)
    second = made.build_next_prompt(opening, completion([6, 4]), AGAIN)
    assert second == renderer().build_next_prompt(opening, completion([6, 4]), AGAIN)
    with pytest.raises(UserError, match="leaves the first turn alone, and rewrites the first two when a turn is added"):
        made.build_next_prompt(second, completion([6, 4]), AGAIN, 2)
    assert renderer().build_next_prompt(second, completion([6, 4]), AGAIN, 2) == (*second, 6, 4, 2, 6, 3)


@pytest.mark.parametrize("space", [" ", "\n"])
def test_what_a_template_puts_before_told_replies_alone_the_model_says_itself(space: str) -> None:
    tokenizer = tokenizers.build_tokenizer(f"ab{space}", [], 64)
    tokenizer.chat_template = LEADS.replace("SPACE", space.replace("\n", "\\n"))
    made = ChatRenderer(tokenizer, [4], "toy", system_prompt="", enable_thinking=None)
    a, between = made.encode("a"), made.encode(space)
    opening = made.build_generation_prompt([ASK])
    assert opening == (2, *a, 3)
    # as the template tells it, and so as the model was trained to say it
    assert made.render_complete_reply("a") == (*between, *a, 4)
    for drawn in ((*between, *a, 4), (*a, 4)):  # the model's own tokens are kept, whatever the template would write
        second = made.build_next_prompt(opening, completion(list(drawn)), ASK)
        assert second == (*opening, *drawn, 2, *a, 3)
        assert made.build_next_prompt(second, completion(list(drawn)), ASK, 2) == (*second, *drawn, 2, *a, 3)


def test_no_template_is_refused() -> None:
    with pytest.raises(UserError, match="no chat template"):
        renderer("")


# real templates ------------------------------------------------------------------------------------------------------

APPENDS = ["qwen2_5", "gemma", "llama3", "llama3_1", "llama3_2", "phi3", "qwen3_instruct_2507"]
THINKS = {"qwen3": "drops the reasoning", "deepseek_r1_distill": "drops the reasoning|opens a reply"}


def real(template: str, system: str = "", thinking: bool | None = None) -> ChatRenderer:
    """TRL's copy of a family's template, over a tokenizer that knows the usual marks."""
    words = tokenizer("qwen3")
    words.chat_template = trl_template(template)
    words.bos_token = "<|endoftext|>"  # some templates begin with it by name
    return ChatRenderer(words, [words.eos_token_id], template, system_prompt=system, enable_thinking=thinking)


@pytest.mark.parametrize("template", APPENDS)
def test_real_templates_that_append(template: str) -> None:
    made = real(template)
    opening = made.build_generation_prompt([Message("user", "3x = 15?")])
    said = completion(made.render_complete_reply("x = 5")[:-1])
    after = made.build_next_prompt(opening, said, Message("user", "Again."))
    words = tokenizer("qwen3").decode(list(after[len(opening) + len(said.tokens) :]))
    assert after[: len(opening) + len(said.tokens)] == opening + said.tokens
    assert "Again." in words and "x = 5" not in words and "3x" not in words


@pytest.mark.parametrize("template", THINKS)
def test_real_templates_that_rewrite_are_refused_by_name(template: str) -> None:
    with pytest.raises(
        UserError, match=f"policy={template}: .*({THINKS[template]}).*allowed: .*policy.enable_thinking=false"
    ):
        real(template).render_message(AGAIN)


def test_qwen3_without_thinking_keeps_its_empty_thought() -> None:
    made = real("qwen3", thinking=False)
    words = tokenizer("qwen3")
    opening = made.build_generation_prompt([ASK])
    assert words.decode(list(opening)).endswith("<think>\n\n</think>\n\n")
    after = words.decode(list(made.build_next_prompt(opening, completion(made.render_complete_reply("x")), AGAIN)))
    assert after.count("<think>\n\n</think>") == 2 and after.count("<|im_end|>") == 3


def test_a_system_prompt_comes_first_or_is_refused() -> None:
    words = tokenizer("qwen3")
    said = words.decode(list(real("qwen2_5", system="Be brief.").build_generation_prompt([ASK])))
    assert said.startswith("<|im_start|>system\nBe brief.<|im_end|>")
    joined = words.decode(
        list(real("qwen2_5", system="Be brief.").build_generation_prompt([Message("system", "And kind."), ASK]))
    )
    assert "Be brief.\n\nAnd kind." in joined
    with pytest.raises(UserError, match=r"gemma: .*refuses .*system.*policy.system_prompt=null"):
        real("gemma", system="Be brief.").build_generation_prompt([ASK])


def test_llama_says_the_same_date_every_day() -> None:
    words = tokenizer("qwen3")
    assert "26 Jul 2024" in words.decode(list(real("llama3_2").build_generation_prompt([ASK])))


def test_plain_words_for_a_model_without_a_template() -> None:
    words = tokenizer("gpt2")
    chat_templates.set_chat_template(words, "plain", "gpt2")
    made = ChatRenderer(words, [words.eos_token_id], "gpt2", system_prompt="Be brief.", enable_thinking=None)
    opening = made.build_generation_prompt([ASK])
    after = made.build_next_prompt(opening, completion(made.render_complete_reply("x")), AGAIN)
    assert words.decode(list(after)) == (
        "Be brief.\n\nQuestion:\na\n\nAnswer:\nx<|endoftext|>\n\nQuestion:\nb\n\nAnswer:\n"
    )
    with pytest.raises(UserError, match=r"no such file.*allowed: own, plain, or the path"):
        chat_templates.set_chat_template(words, "nowhere.jinja", "gpt2")


# fragments -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_encoded_by_itself_joins_without_a_space(name: str) -> None:
    """SentencePiece begins a text with a space; replies, questions in between and tools' answers begin none."""
    words = tokenizer(name)
    chat_templates.set_chat_template(words, "own" if KINDS[name].template else "plain", name)
    made = ChatRenderer(words, [words.eos_token_id], name, system_prompt="", enable_thinking=KINDS[name].thinking)
    opening = made.build_generation_prompt([Message("user", "48/2?")])
    asked = words.decode(list(opening))
    after = made.build_next_prompt(opening, completion(made.render_complete_reply("48/2=")), Message("user", "Again."))
    between = words.decode(list(after[len(opening) :]))
    assert between.startswith(f"48/2={words.decode([after[len(opening) + len(made.encode('48/2='))]])}")
    made._adds_space = False  # as it was: the check sees it
    assert made.decodes_same_when_joined(asked, "So 5") == (not KINDS[name].pieces)
    made._adds_space = KINDS[name].pieces
    assert made.encode("") == () and "  " not in between
    for piece in ("So 5", " and 7", "\n\nAgain.", "24>>", "", "\u00e9\n"):
        assert words.decode([*opening, *made.encode(piece)]) == asked + piece
        assert made.decodes_same_when_joined(asked, piece)


def test_plain_words_of_a_sentencepiece_model() -> None:
    words = tokenizer("llama2")
    chat_templates.set_chat_template(words, "plain", "llama2")
    made = ChatRenderer(words, [words.eos_token_id], "llama2", system_prompt="", enable_thinking=None)
    opening = made.build_generation_prompt([ASK])
    after = made.build_next_prompt(opening, completion(made.render_complete_reply("x")), AGAIN)
    assert words.decode(list(after)) == "<s>Question:\na\n\nAnswer:\nx</s>\n\nQuestion:\nb\n\nAnswer:\n"
