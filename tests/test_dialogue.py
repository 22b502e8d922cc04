"""Dialogues: how many turns there are, and that what is said next cannot tell right from wrong."""

from __future__ import annotations

import pytest

from amend.dialogue import Confidence, Dialogue, SelfCorrect, Single
from amend.errors import UserError
from amend.types import Completion, Episode, Message, Problem, Turn

INSTRUCTION = "There might be an error in the solution above. Please correct it, if any."
PROBLEM = Problem("p", "What is 1 + 1?", "2")


def episode(*replies: str) -> Episode:
    return Episode(PROBLEM, 0, tuple(Turn((0,), Completion((1,), (-1.0,), reply, "end")) for reply in replies))


def test_a_single_answer_is_not_followed_up() -> None:
    dialogue = Single()
    assert isinstance(dialogue, Dialogue) and dialogue.turns == 1
    assert dialogue.next_message(episode("2")) is None


@pytest.mark.parametrize("turns", [1, 2, 4])
def test_the_instruction_follows_every_reply_but_the_last(turns: int) -> None:
    dialogue = SelfCorrect(turns=turns, instruction=INSTRUCTION)
    assert isinstance(dialogue, Dialogue) and dialogue.turns == turns
    said = [dialogue.next_message(episode(*["?"] * k)) for k in range(1, turns + 1)]
    assert said == [Message("user", INSTRUCTION)] * (turns - 1) + [None]


def test_it_never_reveals_whether_the_reply_was_right() -> None:
    dialogue = SelfCorrect(turns=2, instruction=INSTRUCTION)
    said = {dialogue.next_message(episode(reply)) for reply in ("\\boxed{2}", "\\boxed{3}", "", "2" * 1000)}
    assert len(said) == 1


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UserError, match="turns=0"):
        SelfCorrect(turns=0, instruction=INSTRUCTION)
    with pytest.raises(UserError, match="instruction is empty"):
        SelfCorrect(turns=2, instruction=" ")


def sure(*logp: float) -> Episode:
    return Episode(PROBLEM, 0, (Turn((0,), Completion((1,) * len(logp), logp, "?", "end")),))


@pytest.mark.parametrize(
    ("logp", "said"),
    [((-1.0, -2.0), "-1.50"), ((0.0,), "-0.00"), ((-50.0,), "-9.99"), ((), "-0.00"), ((-9.996,), "-9.99")],
)
def test_the_second_turn_is_told_how_sure_the_first_was(logp: tuple[float, ...], said: str) -> None:
    dialogue = Confidence(turns=2, instruction="It was {logp}. Again.")
    assert isinstance(dialogue, Dialogue) and dialogue.attempts == (0, 1)
    assert dialogue.next_message(sure(*logp)) == Message("user", f"It was {said}. Again.")
    assert dialogue.next_message(episode("?", "?")) is None


def test_a_confidence_that_is_not_said_is_refused() -> None:
    with pytest.raises(UserError, match=r"no \{logp\}"):
        Confidence(turns=2, instruction="Again.")
    with pytest.raises(UserError, match="turns=1"):
        Confidence(turns=1, instruction="{logp}")
