"""Play: problems become episodes, token by token appended, each a function of its own seed (laws 2 and 7)."""

from __future__ import annotations

from toys import drift, policy

from amend.dialogue import SelfCorrect, Single
from amend.exploration.prefill import BaseAttempt
from amend.policy.policy import Policy
from amend.rollout.local import Local
from amend.rollout.runner import RolloutRunner
from amend.task.identity import Identity
from amend.types import SamplingParams

HOW = SamplingParams(1.0, 6)
CHARACTERS = "Say 0123tr"


def player(toy: Policy, turns: int = 2, batch: int = 64) -> tuple[RolloutRunner, Identity]:
    task = Identity(symbols=4, test=8)
    engine = Local(toy, max_batch_size=batch, compaction_threshold=0.3)
    dialogue = SelfCorrect(turns=turns, instruction="try") if turns > 1 else Single()
    return RolloutRunner(engine, engine.reference_engine(), toy.renderer, task, dialogue), task


def toy() -> Policy:
    return drift(policy(characters=CHARACTERS))


def test_each_turn_extends_the_one_before() -> None:
    play, task = player(toy(), turns=3)
    episodes = play(task.problems("test")[:4], 3, [HOW] * 3, (0, 0))
    assert [(e.problem.id, e.sample) for e in episodes] == [
        (p.id, s) for p in task.problems("test")[:4] for s in range(3)
    ]
    for e in episodes:
        assert len(e.turns) == 3
        for before, after in zip(e.turns, e.turns[1:], strict=False):
            said = before.prompt + before.reply.tokens
            assert after.prompt[: len(said)] == said
            assert len(after.prompt) > len(said)


def test_an_episode_does_not_depend_on_what_is_played_beside_it() -> None:
    made = toy()
    play, task = player(made)
    many = play(task.problems("test"), 4, [HOW] * 2, (0, 5))
    few = player(made, batch=3)[0](task.problems("test")[2:3], 4, [HOW] * 2, (0, 5))
    mine = [e for e in many if e.problem.id == few[0].problem.id]
    assert [[t.reply.tokens for t in e.turns] for e in mine] == [[t.reply.tokens for t in e.turns] for e in few]


def test_samples_turns_and_rounds_have_their_own_streams() -> None:
    play, task = player(toy())
    one = play(task.problems("test")[:1], 8, [HOW] * 2, (0, 0))
    other = play(task.problems("test")[:1], 8, [HOW] * 2, (0, 1))
    assert len({e.turns[0].reply.tokens for e in one}) > 1
    assert [e.turns[0].reply.tokens for e in one] != [e.turns[0].reply.tokens for e in other]


def test_turns_can_stop_before_the_dialogue_does() -> None:
    play, task = player(toy())
    assert play.turns == 2
    assert all(len(e.turns) == 1 for e in play(task.problems("test"), 1, [HOW], (0, 0)))


def test_offline_first_attempts_are_the_references_and_not_drawn() -> None:
    """Half of each problem's episodes begin with what the untouched engine over the reference would have said."""
    made = toy()
    play, task = player(made)
    episodes = play(task.problems("test")[:3], 4, [HOW] * 2, (0, 0), BaseAttempt(share=0.5))
    assert [e.turns[0].is_trained for e in episodes] == [False, False, True, True] * 3
    assert all(e.turns[1].is_trained for e in episodes)
    made.lm.load_state_dict(made.reference_lm.state_dict())
    play.sync_weights()
    base = play(task.problems("test")[:3], 4, [HOW] * 2, (0, 0))
    for e, b in zip(episodes, base, strict=True):
        if not e.turns[0].is_trained:
            assert e.turns[0].reply.tokens == b.turns[0].reply.tokens
    assert [e.turns[0].reply.tokens for e in episodes] != [b.turns[0].reply.tokens for b in base]


def test_what_a_run_has_spent_is_every_token_drawn_and_nothing_else() -> None:
    play, task = player(toy(), turns=3)
    episodes = play(task.problems("test")[:4], 3, [HOW] * 3, (0, 0))
    drawn = sum(len(turn.reply.tokens) for e in episodes for turn in e.turns)
    assert play.sampled_tokens == drawn > len(episodes) * 3
    play(task.problems("test")[:4], 3, [HOW] * 3, (0, 0))
    assert play.sampled_tokens == 2 * drawn
