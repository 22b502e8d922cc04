"""A policy with a tool: what the tool writes is read and never trained, drawn tokens stay the trainer's (laws 2, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import architectures
import numpy as np
import pytest
import torch
from scripted import Lines
from toys import drift, policy

from amend.batch import collate
from amend.dialogue import SelfCorrect
from amend.policy.chat_renderer import ChatRenderer
from amend.policy.policy import Policy
from amend.policy.tiny.tokenizer import ASCII
from amend.reward.composite import CompositeReward
from amend.rollout.base import Engine, Seed
from amend.rollout.local import Local
from amend.rollout.runner import RolloutRunner
from amend.rollout.tool_engine import ToolEngine, text_to_completion
from amend.task.identity import Identity
from amend.task.tools import Calculator, Tool
from amend.types import Completion, Episode, SamplingParams, Scored, Tokens

PROMPTS: list[Tokens] = [(2, 5, 3), (2, 6, 5, 6, 3), (2, 5, 3), (2, 6, 3), (2, 5, 5, 5, 5, 5, 3), (2, 6, 3)]
SEEDS = [(0, i) for i in range(len(PROMPTS))]


class Echo:
    """Writes ``bb`` after every ``a``."""

    end_mark = "a"

    def answer(self, text: str) -> str | None:
        return "bb" if text.endswith("a") else None

    def split_reply(self, text: str) -> list[tuple[str, bool]]:
        return [(text, False)]


class Mute(Echo):
    """Never has anything to say."""

    def answer(self, text: str) -> str | None:
        return None


class Heedless:
    """An engine that knows no pauses."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self.max_batch_size = engine, engine.max_batch_size
        self.importance_sampling_cap = engine.importance_sampling_cap

    def reference_engine(self) -> Heedless:
        return Heedless(self._engine.reference_engine())

    def sample(
        self, prompts: Sequence[Tokens], sampling_params: SamplingParams, seeds: Sequence[Seed]
    ) -> list[Completion]:
        return self._engine.sample(prompts, replace(sampling_params, pause=frozenset()), seeds)

    def sync_weights(self) -> None:
        self._engine.sync_weights()


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def toy(request: pytest.FixtureRequest) -> Policy:
    return drift(policy(request.param))


def engine(toy: Policy, tool: Tool) -> ToolEngine:
    return ToolEngine(Local(toy, max_batch_size=64, compaction_threshold=0.3), tool, toy.renderer)


def test_it_is_an_engine_and_tools_are_tools(toy: Policy) -> None:
    assert isinstance(engine(toy, Echo()), Engine)
    assert isinstance(Calculator(), Tool) and isinstance(Echo(), Tool)
    assert Identity(symbols=2, test=2).tool is None


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0, 1.5])
def test_drawn_tokens_have_the_trainers_logp_across_what_the_tool_wrote(toy: Policy, temperature: float) -> None:
    replies = engine(toy, Echo()).sample(PROMPTS, SamplingParams(temperature, 16), SEEDS)
    assert temperature == 0 or any(not all(reply.loss_mask) for reply in replies)
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        tokens = torch.tensor([prompt + reply.tokens])
        loss_mask = torch.tensor([[False] * len(prompt) + list(reply.loss_mask)])
        with torch.no_grad():
            trainer = toy.logprobs(tokens, loss_mask, temperature)[0, len(prompt) :].numpy()
        own = np.array(reply.loss_mask)
        assert np.array(reply.logp)[own] == pytest.approx(trainer[own], abs=5e-5)
        assert not np.array(reply.logp)[~own].any()


def test_every_call_is_answered_and_nothing_else_is(toy: Policy) -> None:
    for reply in engine(toy, Echo()).sample(PROMPTS * 4, SamplingParams(1.0, 16), [(7, i) for i in range(24)]):
        a, b = (toy.renderer.encode(letter)[0] for letter in "ab")
        assert len(reply.tokens) <= 16 and reply.stop in ("end", "length") and reply.loss_mask[-1]
        assert (reply.stop == "end") == (reply.tokens[-1] in toy.ends)
        i = 0
        while i < len(reply.tokens):
            assert reply.loss_mask[i]
            called = reply.tokens[i] == a and i + 1 < len(reply.tokens)
            if called:
                assert reply.tokens[i + 1 : i + 3] == (b, b) and reply.loss_mask[i + 1 : i + 3] == (False, False)
            i += 3 if called else 1


def test_a_tool_that_says_nothing_changes_no_prefix_and_a_call_free_reply_is_the_engines_own(toy: Policy) -> None:
    plain = Local(toy, max_batch_size=64, compaction_threshold=0.3).sample(PROMPTS, SamplingParams(1.0, 12), SEEDS)
    silent = engine(toy, Mute()).sample(PROMPTS, SamplingParams(1.0, 12), SEEDS)
    a = toy.renderer.encode("a")[0]
    for without, with_ in zip(plain, silent, strict=True):
        assert with_.sampled == ()
        until = without.tokens.index(a) + 1 if a in without.tokens else len(without.tokens)
        assert with_.tokens[:until] == without.tokens[:until]
        assert a in without.tokens or with_.tokens == without.tokens


def test_an_engine_that_knows_no_pauses_gives_the_same(toy: Policy) -> None:
    heedless = ToolEngine(Heedless(Local(toy, max_batch_size=64, compaction_threshold=0.3)), Echo(), toy.renderer)
    one, other = (e.sample(PROMPTS, SamplingParams(1.0, 16), SEEDS) for e in (engine(toy, Echo()), heedless))
    assert [(r.tokens, r.loss_mask, r.stop) for r in one] == [(r.tokens, r.loss_mask, r.stop) for r in other]


def test_a_reply_does_not_depend_on_its_neighbours(toy: Policy) -> None:
    together = engine(toy, Echo()).sample(PROMPTS, SamplingParams(1.0, 16), SEEDS)
    for i, reply in enumerate(together):
        assert engine(toy, Echo()).sample([PROMPTS[i]], SamplingParams(1.0, 16), [SEEDS[i]])[0].tokens == reply.tokens


@pytest.mark.parametrize("longest", [1, 2, 3, 4, 5])
def test_the_bound_is_of_both_together_and_the_last_word_is_the_policys(toy: Policy, longest: int) -> None:
    for reply in engine(toy, Echo()).sample(PROMPTS, SamplingParams(1.0, longest), SEEDS):
        assert 1 <= len(reply.tokens) <= longest and reply.loss_mask[-1]
        assert reply.stop == "end" or len(reply.tokens) >= longest - 2


# With the calculator, through play ------------------------------------------------------------------------------------


class Counting(Identity):
    """The identity task with a calculator."""

    tool = Calculator()


def lines(prompt: str, sample: int, turn: int) -> str:
    """What a policy that has learnt to call says, part by part."""
    if prompt.endswith("24>>"):
        return "24 clips <<1/0=?>> #### 24"
    return "48/2 = <<48/2="


def played() -> tuple[RolloutRunner, list[Episode], Policy, Lines]:
    made = policy(characters=ASCII)
    speaker = Lines(made, lines, {"48/2 = <<48/2=": -2.0})
    task = Counting(symbols=4, test=4)
    play = RolloutRunner(speaker, speaker, made.renderer, task, SelfCorrect(turns=2, instruction="Again."))
    return play, play(task.problems("train")[:2], 1, [SamplingParams(1.0, 80)] * 2, (0, 0)), made, speaker


def test_the_calculators_tokens_are_in_the_context_and_never_trained_nor_counted() -> None:
    play, episodes, made, speaker = played()
    turn = episodes[0].turns[0]
    assert turn.reply.text == "48/2 = <<48/2=24>>24 clips <<1/0=?>> #### 24"
    own = "".join(
        made.decode((t,)) for t, mine in zip(turn.reply.tokens[:-1], turn.reply.loss_mask, strict=False) if mine
    )
    assert own == "48/2 = <<48/2=24 clips <<1/0=?>> #### 24"
    assert any(heard.endswith("<<48/2=24>>") for heard in speaker.heard)
    tokens = sum(len(t.reply.tokens) for e in episodes for t in e.turns)
    drawn = sum(sum(t.reply.loss_mask) for e in episodes for t in e.turns)
    assert play.sampled_tokens == drawn == tokens - 4 * len("24>>")
    batch = collate([Scored(e, (0.0, 0.0), {}) for e in episodes])
    assert int(batch.loss_mask.sum()) == drawn
    assert not batch.old_logprobs[~batch.loss_mask].any() and bool((batch.old_logprobs[batch.loss_mask] < 0).all())
    again = "".join(made.decode((int(t),)) for t in batch.tokens[0][batch.loss_mask[0]] if int(t) not in made.ends)
    assert again == 2 * "48/2 = <<48/2=24 clips <<1/0=?>> #### 24"


def test_a_given_solution_is_imitated_but_for_what_its_marks_hold() -> None:
    play, _, made, _ = played()
    reply = play.reply("48/2 = <<48/2=24>>24\n#### 24")
    assert made.decode(reply.tokens) == "48/2 = <<48/2=24>>24\n#### 24"
    assert [made.decode((t,)) for t, own in zip(reply.tokens, reply.loss_mask, strict=True) if not own] == list("24>>")
    assert reply.tokens[-1] in made.ends and reply.loss_mask[-1]
    assert text_to_completion(Calculator(), made.renderer, "no marks").sampled == ()


def test_what_a_template_puts_before_told_replies_comes_before_the_first_piece() -> None:
    made = policy(characters=ASCII)
    made.tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content }}<end>"
        "{% else %}<user>{{ m.content }}<assistant>{% endif %}{% endfor %}"
    )
    renderer = ChatRenderer(made.tokenizer, made.ends, "toy", system_prompt="", enable_thinking=None)
    for text in ("48/2 = <<48/2=24>>24", "5", ""):
        assert text_to_completion(Calculator(), renderer, text).tokens == renderer.render_complete_reply(text)
    assert made.decode(renderer.render_complete_reply("5")) == " 5"


def test_what_is_paid_on_the_way_is_paid_to_drawn_tokens() -> None:
    _, episodes, _, _ = played()

    class Along:
        weight = 1.0

        def __call__(self, some: Sequence[Episode]) -> np.ndarray:
            return np.zeros((len(some), 2))

        def token_rewards(self, some: Sequence[Episode]) -> list[np.ndarray]:
            return [np.ones(sum(sum(turn.loss_mask) for turn in e.turns)) for e in some]

    scored = CompositeReward({"along": Along()}, max_failures=0.0)(episodes)
    assert scored[0].reward == tuple(float(sum(turn.loss_mask)) for turn in episodes[0].turns)
    batch = collate(scored)
    assert bool((batch.token_rewards == batch.loss_mask.float()).all())


@pytest.mark.parametrize("name", ["llama2", "qwen2"])
def test_what_a_calculator_writes_gains_no_space(name: str) -> None:
    """SentencePiece begins each text with a space, and ``<<48/2= 24>>`` is no mark."""
    made = architectures.policy(name)
    text = "It is <<48/2=24>>24, then <<24+1=25>>25."
    opening = made.renderer.build_generation_prompt(
        Identity(symbols=2, test=2).render_prompt(Identity(symbols=2, test=2).problems("test")[0])
    )
    reply = text_to_completion(Calculator(), made.renderer, text)
    assert made.renderer.decode(opening + reply.tokens) == made.renderer.decode(opening) + text
