"""Outcome models: where the steps of a reply end, what is paid there, and whether one learns right from wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from composed import composed
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from toys import policy

from amend.components import Components, build_reranker
from amend.dialogue import SelfCorrect, Single
from amend.errors import UserError
from amend.evaluation.evaluate import table
from amend.policy.policy import Policy
from amend.reward import CompositeReward, Reward
from amend.reward.judge_gap import JudgeGap
from amend.reward.oracle import Oracle, correctness
from amend.reward.orm import Orm
from amend.reward.outcome_model import OutcomeModel, at_ends, pieces, rank, rectangle
from amend.rollout.local import Local
from amend.rollout.runner import RolloutRunner
from amend.task.identity import Identity
from amend.training.outcome_model import Reading, auc, backward, by_outcome, by_step, completable, prefixes, train_orm
from amend.types import Completion, Episode, Problem, SamplingParams, Turn, Verdict

CHARACTERS = "Say 0123tr\n"
TASK = Identity(symbols=4, test=4)
ZERO = TASK.problems("test")[0]
TOY = policy(characters=CHARACTERS)


def opinionated(toy: Policy = TOY) -> OutcomeModel:
    """A model with a head of its own mind: at its initialisation it would say one half to everything."""
    model = OutcomeModel(toy.reference_lm.base_model, toy.tokenizer, {"base": "toy", "kind": "outcome"})
    with torch.no_grad():
        model.head.weight.copy_(torch.randn(model.head.weight.shape, generator=torch.Generator().manual_seed(3)))
    return model


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved one."""
    where = tmp_path_factory.mktemp("orm")
    opinionated().save(where)
    return where


def spoken(*replies: str, stop: Any = "end", problem: Problem = ZERO, given: str = "", drawn: bool = True) -> Episode:
    """An episode in the toy's own tokens, one for each character; ``given`` was handed in with the first reply."""
    render = TOY.renderer
    episode = Episode(problem, 0, ())
    prompt = render.build_generation_prompt(TASK.render_prompt(problem)) + (render.encode(given) if given else ())
    for k, text in enumerate(replies):
        tokens = (*render.encode(text), *TOY.ends[:1]) if stop == "end" else render.encode(text)
        said = given + text if k == 0 else text
        turn = Turn(prompt, Completion(tokens, (-1.0,) * len(tokens), said, stop), is_trained=drawn or k > 0)
        prompt = prompt + tokens + render.encode("try")
        episode = Episode(problem, 0, (*episode.turns, turn))
    return episode


# the model ----------------------------------------------------------------------------------------------------------


def test_an_untrained_model_says_one_half() -> None:
    fresh = OutcomeModel(TOY.reference_lm.base_model, TOY.tokenizer, {})
    assert (fresh.read([(1, 2, 3)])[0] == 0.5).all()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=9).map(tuple), min_size=1, max_size=6), st.data())
def test_p_depends_on_neither_padding_nor_neighbours(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    model = opinionated()
    alone = [model.read([row])[0] for row in rows]
    for p, together in zip(alone, model.read(rows), strict=True):
        np.testing.assert_allclose(p, together, atol=1e-5)
    tokens, lengths = rectangle(rows)
    filler = data.draw(st.integers(0, 9))
    wide = torch.nn.functional.pad(tokens, (0, 3), value=filler)
    wide[torch.arange(wide.shape[1]) >= lengths[:, None]] = filler
    padded = model.p(wide, lengths)
    for row, p in enumerate(alone):
        np.testing.assert_allclose(padded[row, : len(p)], p, atol=1e-5)
        assert (padded[row, len(p) :] == 0).all()


def test_p_at_a_token_knows_nothing_of_later_ones() -> None:
    one, other = opinionated().read([(1, 2, 3, 4), (1, 2, 3, 9)])
    np.testing.assert_allclose(one[:3], other[:3], atol=1e-6)
    assert abs(one[3] - other[3]) > 1e-3


def test_saved_and_loaded_it_says_the_same(path: Path) -> None:
    back, rows = OutcomeModel.load(path), [(1, 2, 3), (4, 5)]
    for p, again in zip(opinionated().read(rows), back.read(rows), strict=True):
        np.testing.assert_allclose(p, again, atol=1e-6)
    assert back.about == {"base": "toy", "kind": "outcome"}
    assert back.step_ends(spoken("0\n1").turns[0]) == opinionated().step_ends(spoken("0\n1").turns[0])


def test_a_token_it_does_not_know_is_the_wrong_model() -> None:
    with pytest.raises(UserError, match=r"outcome model of toy has .* was given token 9999"):
        opinionated().read([(1, 9999)])


@given(st.lists(st.integers(1, 50), max_size=20), st.integers(1, 120))
def test_pieces_cover_all_rows_and_keep_to_the_limit(lengths: list[int], tokens: int) -> None:
    made = list(pieces(lengths, tokens))
    assert sorted(i for piece in made for i in piece) == list(range(len(lengths)))
    assert all(len(piece) == 1 or len(piece) * max(lengths[i] for i in piece) <= tokens for piece in made)


# steps and pay ------------------------------------------------------------------------------------------------------


def ends(episode: Episode, turn: int = 0) -> list[int]:
    """Step ends, counted from the reply's first token."""
    return [at - len(episode.turns[turn].prompt) for at in opinionated().step_ends(episode.turns[turn])]


def test_steps_end_at_the_tokens_that_complete_them() -> None:
    assert ends(spoken("01\n2\n3")) == [2, 4, 6]  # "01\n", "2\n", and "3" with the end token
    assert ends(spoken("01\n2\n3", stop="length")) == [2, 4, 5]
    assert ends(spoken("012")) == [3]
    assert ends(spoken("")) == [0]
    assert ends(spoken("0", "1\n2"), turn=1) == [1, 3]


def test_steps_that_were_handed_in_have_no_end_here() -> None:
    assert ends(spoken("2\n3", given="01\n")) == [1, 3]
    assert ends(spoken("1\n2", given="0")) == [1, 3]  # a step that was begun for the policy is its own to complete


def test_sparse_pays_p_at_the_end_of_each_turn(path: Path) -> None:
    part = Orm(TASK, weight=0.5, path=str(path), use="sparse")
    assert isinstance(part, Reward)
    some = [spoken("0\n1", "2"), spoken("3")]
    read = opinionated().read([e.turns[-1].prompt + e.turns[-1].reply.tokens for e in some])
    first = len(some[0].turns[0].prompt) + 3
    np.testing.assert_allclose(part(some), [[read[0][first], read[0][-1]], [read[1][-1], 0]], atol=1e-6)
    assert [list(paid) for paid in part.token_rewards(some)] == [[0.0] * 6, [0.0] * 2]
    scored = CompositeReward({"orm": part}, max_failures=0.0)(some)
    assert scored[1].reward == pytest.approx((0.5 * read[1][-1],), abs=1e-6)
    assert part([]).shape == (0, 0)


def test_value_and_difference_pay_at_step_ends_alone(path: Path) -> None:
    some = [spoken("01\n2\n3", "2")]
    (p,) = opinionated().read([some[0].turns[-1].prompt + some[0].turns[-1].reply.tokens])
    one, two = (len(turn.prompt) for turn in some[0].turns)
    value, difference = (Orm(TASK, weight=2.0, path=str(path), use=use) for use in ("value", "difference"))
    expected = np.zeros(7 + 2)
    expected[[2, 4, 6]], expected[8] = 2 * p[[one + 2, one + 4, one + 6]] / 3, 2 * p[two + 1]
    np.testing.assert_allclose(value.token_rewards(some)[0], expected, atol=1e-6)
    at = [one - 1, one + 2, one + 4, one + 6]
    expected[[2, 4, 6]], expected[8] = 2 * np.diff(p[at]), 2 * (p[two + 1] - p[two - 1])
    np.testing.assert_allclose(difference.token_rewards(some)[0], expected, atol=1e-6)
    assert np.ptp(p[at]) > 1e-3  # or nothing was compared
    assert (value(some) == 0).all() and (difference(some) == 0).all()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.text("0123 \n", max_size=12), min_size=1, max_size=3), st.sampled_from(["end", "length"]))
def test_differences_telescope_and_values_average(path: Path, replies: list[str], stop: str) -> None:
    episode = spoken(*[text or "0" for text in replies], stop=stop)
    model, at = opinionated(), 0
    (p,) = model.read([episode.turns[-1].prompt + episode.turns[-1].reply.tokens])
    (change,) = Orm(TASK, weight=1.0, path=str(path), use="difference").token_rewards([episode])
    (value,) = Orm(TASK, weight=1.0, path=str(path), use="value").token_rewards([episode])
    for turn in episode.turns:
        n, first = len(turn.reply.tokens), len(turn.prompt)
        assert change[at : at + n].sum() == pytest.approx(p[first + n - 1] - p[first - 1], abs=1e-5)
        assert value[at : at + n].sum() == pytest.approx(p[model.step_ends(turn)].mean(), abs=1e-5)
        at += n
    assert at == len(change) == len(value)


def test_what_the_policy_did_not_draw_is_not_paid(path: Path) -> None:
    for use in ("sparse", "value"):
        (paid,) = Orm(TASK, weight=1.0, path=str(path), use=use).token_rewards([spoken("0\n1", "2", drawn=False)])
        assert len(paid) == 2


def test_a_path_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"reward\.orm\.path=.*python run\.py job=train_orm orm\.path="):
        Orm(TASK, weight=1.0, path=str(tmp_path / "none"), use="sparse")


def test_rank_reads_the_last_reply_and_the_blind_judge_every_one(path: Path) -> None:
    model, some = opinionated(), [spoken("0", "1"), spoken("2")]
    np.testing.assert_allclose(rank(model, some), [at_ends(model, some)[0, 1], at_ends(model, some)[1, 0]])
    judge = JudgeGap(TASK, weight=1.0, path=str(path), use="difference")
    np.testing.assert_allclose(judge(some), at_ends(model, some) - correctness(TASK, some), atol=1e-6)


# labels -------------------------------------------------------------------------------------------------------------


def test_an_outcome_labels_every_prefix_of_its_reply() -> None:
    episode = spoken("01", "0")
    one, two = (len(turn.prompt) for turn in episode.turns)
    reading = by_outcome(episode, np.array([0.0, 1.0]))
    assert reading.places == [one - 1, one, one + 1, one + 2, two - 1, two, two + 1]
    assert reading.labels == [0.0] * 4 + [1.0] * 3
    assert reading.ends == [one + 2, two + 1] and len(reading.tokens) == two + 2


def test_a_step_is_labelled_with_what_can_still_come() -> None:
    episode = spoken("0\n1\n2", "3")
    assert prefixes("0\n1\n2") == ["", "0\n", "0\n1\n"] and prefixes("0") == [""]
    hopeful = {(ZERO.id, "0\n"), ("another", "0\n1\n")}
    reading = by_step(opinionated(), episode, np.array([0.0, 1.0]), hopeful)
    first = len(episode.turns[0].prompt)
    assert reading.places[:4] == [first - 1, first + 1, first + 3, first + 5]
    assert reading.labels == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]  # from a longer prefix follows the shorter; then turn 2's
    assert by_step(opinionated(), episode, np.array([1.0, 0.0]), set()).labels == [1.0] * 4 + [0.0] * 2


class Starts(Identity):
    """Right is whatever begins with the symbol: so a prefix decides."""

    def grade(self, problem: Problem, reply: str) -> Verdict:
        said = reply.strip()[:1]
        return Verdict(said or None, said == problem.target, "")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        return [self.grade(problem, reply) for problem, reply in pairs]


def house(toy: Policy, task: Any, turns: int = 1) -> Components:
    engine = Local(toy, max_batch_size=4096, compaction_threshold=0.25)
    dialogue = Single() if turns == 1 else SelfCorrect(turns=turns, instruction="try")
    play = RolloutRunner(engine, engine.reference_engine(), toy.renderer, task, dialogue)
    return Components(
        task, dialogue, toy, play, CompositeReward({"oracle": Oracle(task, weight=1.0)}, max_failures=0.0)
    )


def test_what_can_be_completed_is_found_by_going_on() -> None:
    task = Starts(symbols=4, test=4)
    zero, one = task.problems("test")[:2]
    episodes = [spoken("0 1 2", problem=zero), spoken("0 1 2", problem=one), spoken("1", problem=one)]
    found = completable(house(TOY, task), episodes, SamplingParams(1.0, 4), 3, (0,))
    begun = {(zero.id, "0"), (zero.id, "0 1")}
    assert begun <= found <= begun | {(zero.id, ""), (one.id, "")}


# learning -----------------------------------------------------------------------------------------------------------


def test_the_gradient_does_not_depend_on_the_micro_batch() -> None:
    readings = [by_outcome(spoken(*said), np.array(right)) for said, right in
                ((("0",), [1.0]), (("01\n2",), [0.0]), (("1", "0"), [0.0, 1.0]), (("31",), [0.0]))]  # fmt: skip
    grads = []
    for max_tokens_per_micro_batch in (1, 40, 10_000):
        model = opinionated(policy(characters=CHARACTERS)).requires_grad_(True)
        backward(model, readings, max_tokens_per_micro_batch)
        grads.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    for grad in grads[1:]:
        torch.testing.assert_close(grad, grads[0], atol=1e-6, rtol=1e-4)
    assert grads[0].abs().max() > 1e-3


def test_the_loss_is_the_mean_over_labelled_prefixes() -> None:
    model = OutcomeModel(TOY.reference_lm.base_model, TOY.tokenizer, {})  # p is one half everywhere
    backward(model, [Reading("p", (1, 2, 3), [1], [1.0], [2]), Reading("q", (1, 2), [0, 1, 1], [0.0] * 3, [1])], 100)
    assert model.head.bias.grad is not None
    assert float(model.head.bias.grad) == pytest.approx((-0.5 + 3 * 0.5) / 4)


@pytest.mark.parametrize(
    ("p", "right", "area"),
    [
        ([0.1, 0.9], [False, True], 1.0),
        ([0.9, 0.1], [False, True], 0.0),
        ([0.5, 0.5], [False, True], 0.5),
        ([0.1, 0.4, 0.35, 0.8], [False, False, True, True], 0.75),
        ([0.1, 0.2], [True, True], None),
    ],
)
def test_auc_by_hand(p: list[float], right: list[bool], area: float | None) -> None:
    assert auc(np.array(p), np.array(right)) == area


def settings_of(path: Path, tokens: int = 1, **changed: Any) -> Any:
    orm = {
        "path": str(path), "kind": "outcome", "problems": 400, "samples": 4, "temperature": 4.0, "rollouts_per_step": 2,
        "held_out": 0.25, "epochs": 8, "minibatch": 32, "lr": 3e-3,
    }  # fmt: skip
    return OmegaConf.create(
        {"seed": 0, "algo": {"max_tokens": tokens}, "policy": {"path": "toy"}, "orm": {**orm, **changed}}
    )


def test_it_learns_to_tell_right_from_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy = policy(characters="Say 01", width=32)
    task = Identity(symbols=2, test=4)
    before = [weights.clone() for weights in toy.parameters()]
    where = train_orm(house(toy, task), settings_of(tmp_path / "orm"))
    said = capsys.readouterr().out.splitlines()
    assert [line.split(" ")[0] for line in said] == ["1,600", "accuracy", "auroc"]
    about = json.loads((where / "orm.json").read_text(encoding="utf-8"))
    held_out = about["held_out"]["replies"]
    assert about["base"] == "toy" and held_out["n"] == 400
    assert 0.05 < held_out["right"] < 0.2  # of the eleven tokens one is right
    assert held_out["auroc"] > 0.99 and held_out["accuracy"] > 0.97
    assert about["held_out"]["prefixes"]["auroc"] < 0.9  # before it is said, what will be is not known
    assert all(torch.equal(now, then) for now, then in zip(toy.parameters(), before, strict=True))
    again = train_orm(house(toy, task), settings_of(tmp_path / "again"))  # law 7
    for name in ("orm.json", "model.safetensors"):
        assert (again / name).read_bytes() == (where / name).read_bytes()


def test_steps_are_learnt_too(tmp_path: Path) -> None:
    toy = policy(characters="Say 01tr", width=32)
    cfg = settings_of(tmp_path, tokens=6, kind="step", problems=40, epochs=1)
    about = OutcomeModel.load(train_orm(house(toy, Starts(symbols=2, test=4), turns=2), cfg)).about
    assert about["kind"] == "step" and about["held_out"]["replies"]["n"] == 10 * 4 * 2
    assert about["held_out"]["prefixes"]["n"] >= 2 * about["held_out"]["replies"]["n"]


def test_it_is_refused_where_there_is_nothing_to_learn(tmp_path: Path) -> None:
    class Never(Identity):
        def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
            return [Verdict(None, False, "") for _ in pairs]

    made = house(TOY, Never(symbols=4, test=4))
    with pytest.raises(UserError, match="0% of the replies are right, so there is nothing to learn"):
        train_orm(made, settings_of(tmp_path, problems=4))
    with pytest.raises(UserError, match=r"orm\.problems=1"):
        train_orm(made, settings_of(tmp_path, problems=1))
    assert not (tmp_path / "orm.json").exists()


# ranking ------------------------------------------------------------------------------------------------------------


def test_evaluation_ranks_each_turn_by_what_the_model_says_at_its_end(path: Path) -> None:
    rank = build_reranker(composed(f"eval.reranker={path}", "logger=none"))
    some = [spoken("0", "12"), spoken("321"), spoken("2", "2")]
    np.testing.assert_allclose(rank(some), at_ends(OutcomeModel.load(path), some), atol=1e-6)
    columns = table(some, (0, 1), Starts(symbols=4, test=4), "base", "wide", rank)
    assert columns["score"] == pytest.approx([rank(some)[place] for place in ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1))])
    assert "score" not in table(some, (0, 1), Starts(symbols=4, test=4), "base", "wide")


def test_no_ranker_and_no_such_ranker() -> None:
    assert build_reranker(composed("logger=none")) is None
    with pytest.raises(UserError, match=r"eval\.reranker=nowhere: no outcome model"):
        build_reranker(composed("eval.reranker=nowhere", "logger=none"))
