"""``job=doctor``: the built-in model is fit to train, and each line can fail, on a set-up broken in that very way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import folder, trl_template
from composed import composed
from learners import build

from amend import batch as batches
from amend import cli
from amend.components import Components, build_components
from amend.job import doctor
from amend.policy.chat_renderer import ChatRenderer
from amend.policy.tiny import tokenizer as tokenizers
from amend.rollout import local
from amend.rollout.local import Local
from amend.rollout.runner import RolloutRunner
from amend.training import preflight, preflight_checks, preflight_updates
from amend.training.preflight_checks import CheckContext, CheckResult
from amend.types import Verdict

ENDLESS = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def house_of(algorithm: Any, task: Any) -> Components:
    play = algorithm.runner
    return Components(task, play._dialogue, algorithm.policy, play, algorithm.reward)


@pytest.fixture
def context() -> CheckContext:
    """Well, and small: two turns of the identity task, some replies right."""
    overrides = ["algo.group_size=8", "algo.max_tokens=1", "algo.turns=2", "algo.num_iterations=2"]
    algorithm, task = build("grpo", *overrides)
    cfg = composed("algo=grpo", "task=identity", "logger=none", *overrides)
    made = house_of(algorithm, task)
    return CheckContext(cfg, made, algorithm, preflight_checks.base_sample(cfg, made))


def over(context: CheckContext, engine: Local) -> CheckContext:
    """The same context, sampled by another engine."""
    made = context.components
    play = RolloutRunner(engine, engine, made.policy.renderer, made.task, made.dialogue)
    return context._replace(components=made._replace(runner=play))


def found(findings: Iterator[CheckResult] | list[CheckResult], what: str) -> CheckResult:
    named = [finding for finding in findings if finding.what == what]
    assert len(named) == 1, [str(finding) for finding in findings]
    return named[0]


def test_the_well_are_told_so(context: CheckContext) -> None:
    for finding in (
        *preflight_checks.end_and_padding(context.components),
        *preflight_checks.template(context.components),
        *preflight_checks.gold(context.components),
        preflight_checks.something_to_learn(context),
        preflight_checks.memory(context),
        *preflight_updates.updates(context),
        *(preflight_checks.parity(context.components, heat) for heat in preflight_checks.TEMPERATURES),
    ):
        assert finding.ok, finding


def test_the_job_on_the_built_in_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run_job(composed("job=doctor", "scale=smoke", "algo.max_tokens=40", "trainer.threads=1")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 15 and all(line.startswith("ok ") for line in lines[:-1])
    assert lines[-1].startswith("14 ok, 0 to change")


def test_one_line_to_change_is_a_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = [CheckResult("memory", True, "enough"), CheckResult("end token", False, "none")]
    monkeypatch.setattr("amend.job.doctor.run_checks", lambda cfg: iter(said))
    assert doctor.run(composed("job=doctor")) == 1
    assert "CHANGE  end token" in capsys.readouterr().out


def test_fragments_that_gain_a_space_are_found(context: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ChatRenderer, "decodes_same_when_joined", lambda self, before, piece: not piece.startswith("So")
    )
    finding = found(list(preflight_checks.template(context.components)), "template")
    assert not finding.ok and "'So 5' after the question has other tokens" in finding.says


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("qwen3", [], "drops the reasoning"),
        ("gpt2", [], "no chat template"),
        ("gemma2", ["policy.system_prompt=Be brief."], "refuses a conversation of system"),
        ("qwen2", ["policy.enable_thinking=false"], "no enable_thinking"),
    ],
)
def test_a_template_that_cannot_be(name: str, more: list[str], says: str, tmp_path: Path) -> None:
    path = folder(name, tmp_path)
    cfg = composed("job=doctor", "policy=hf", f"policy.path={path}", "task=identity", "algo.max_tokens=8", *more)
    (finding,) = list(preflight.run_checks(cfg))
    assert not finding.ok and finding.what == "set-up" and says in finding.says and "allowed" in finding.says


def test_a_text_that_begins_twice(tmp_path: Path) -> None:
    path = folder("llama", tmp_path)
    (path / "twice.jinja").write_text("{{ bos_token }}" + trl_template("llama3_2"))
    cfg = composed(
        "job=doctor", "policy=hf", f"policy.path={path}", f"policy.chat_template={path / 'twice.jinja'}",
        "task=identity",
        "algo.max_tokens=8",
    )  # fmt: skip
    assert "begins twice" in found(list(preflight_checks.template(build_components(cfg))), "template").says


def test_characters_that_the_tokenizer_does_not_know(context: CheckContext) -> None:
    made = context.components
    words = tokenizers.build_tokenizer("ab", [], 64)
    made.policy.renderer = ChatRenderer(words, [4], "toy", system_prompt="", enable_thinking=None)
    made.policy.tokenizer = words
    made.runner._renderer = made.policy.renderer
    finding = found(list(preflight_checks.template(made)), "template")
    assert not finding.ok and "does not know" in finding.says


def test_no_end_after_a_reply(context: CheckContext) -> None:
    words = context.components.policy.tokenizer
    words.chat_template = ENDLESS
    context.components.policy.renderer = ChatRenderer(words, [4], "toy", system_prompt="", enable_thinking=None)
    finding = found(list(preflight_checks.end_and_padding(context.components)), "end token")
    assert not finding.ok and "puts none of '<end>'" in finding.says


def test_a_tokenizer_of_another_model(context: CheckContext) -> None:
    context.components.policy.tokenizer.add_tokens(["<more>"])
    finding = found(list(preflight_checks.end_and_padding(context.components)), "end token")
    assert not finding.ok and "embeddings" in finding.says


def test_an_end_token_taken_for_padding(context: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_ends(scored: Any) -> batches.Batch:
        batch = batches.collate(scored)
        return replace(batch, loss_mask=batch.loss_mask & (batch.tokens != context.components.policy.ends[0]))

    monkeypatch.setattr(preflight_checks, "collate", without_ends)
    finding = found(list(preflight_checks.end_and_padding(context.components)), "padding")
    assert not finding.ok and "0 times" in finding.says


@pytest.mark.parametrize(("right", "says"), [(False, "graded wrong"), (True, "an empty reply is right")])
def test_a_grader_that_is_wrong(context: CheckContext, right: bool, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = Verdict(None, right, "broken")
    monkeypatch.setattr(type(context.components.task), "grade_many", lambda self, pairs: [verdict] * len(pairs))
    finding = found(list(preflight_checks.gold(context.components)), "gold answers")
    assert not finding.ok and says in finding.says


def test_replies_cut_short(context: CheckContext) -> None:
    cut = [
        replace(s, episode=replace(s.episode, turns=tuple(
            replace(turn, reply=replace(turn.reply, stop="length")) for turn in s.episode.turns)))
        for s in context.scored
    ]  # fmt: skip
    finding = preflight_checks.truncation(context._replace(scored=cut))
    assert not finding.ok and "100%" in finding.says and "algo.max_tokens=1" in finding.says


def test_nothing_to_learn(context: CheckContext) -> None:
    alike = [replace(s, reward=(0.0, 0.0), parts={}) for s in context.scored]
    finding = preflight_checks.something_to_learn(context._replace(scored=alike))
    assert not finding.ok and "100% of groups" in finding.says and "easier" in finding.says


def test_a_sampler_that_forgets_the_temperature(context: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = local.draw
    monkeypatch.setattr(local, "draw", lambda logits, temperature, uniform: honest(logits, 1.0, uniform))
    assert preflight_checks.parity(context.components, 1.0).ok
    for heat in (0.6, 1.5):
        finding = preflight_checks.parity(context.components, heat)
        assert not finding.ok and "policy.attn_implementation=eager" in finding.says


def test_a_trainer_that_sees_its_padding(context: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = type(context.components.policy).logprobs

    def leaky(self: Any, tokens: torch.Tensor, loss_mask: torch.Tensor, temperature: Any) -> torch.Tensor:
        return honest(self, tokens, loss_mask, temperature) + 0.01 * float((tokens[:, -1] == self.ends[0]).all())

    monkeypatch.setattr(type(context.components.policy), "logprobs", leaky)
    finding = preflight_checks.parity(context.components, 1.0)
    assert not finding.ok and "padded 1.0e-02" in finding.says


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("rollout.max_batch_size", 10**9, "rollout.max_batch_size"),
        ("max_tokens_per_micro_batch", 10**9, "gradient_checkpointing"),
    ],
)
def test_memory_that_is_not_there(context: CheckContext, key: str, value: int, says: str) -> None:
    if key == "max_tokens_per_micro_batch":
        context.components.policy.max_tokens_per_micro_batch = value
    else:
        context.cfg.rollout.max_batch_size = value
        assert preflight_checks.memory(context).ok  # a round has no more rows than its episodes
        context.cfg.algo.group_size = value
    finding = preflight_checks.memory(context)
    assert not finding.ok and says in finding.says


def test_weights_that_are_not_there(context: CheckContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        preflight_checks, "estimate_memory", lambda *_: {"weights": 2**60, "activations": 0, "cache": 0}
    )
    assert "tuning=lora" in preflight_checks.memory(context).says


def test_a_step_of_nothing_that_does_something(context: CheckContext) -> None:
    learner, policy = context.algorithm, context.components.policy
    learner.optimize = lambda *_: preflight_updates._nudge(policy, batches.collate(context.scored), 0.1)  # type: ignore[method-assign]
    finding = found(list(preflight_updates.updates(context)), "a step of size 0")
    assert not finding.ok and "tensors" in finding.says


def test_steps_that_are_rounded_away(context: CheckContext) -> None:
    context.components.policy.lm.to(torch.bfloat16)
    context.components.policy.reference_lm.to(torch.bfloat16)  # type: ignore[union-attr]
    context.algorithm.lr = 1e-7
    fresh = Local(
        context.components.policy, max_batch_size=64, compaction_threshold=0.25
    )  # its buffers are of the new type
    finding = found(list(preflight_updates.updates(over(context, fresh))), "a step of algo.lr")
    assert not finding.ok and "policy.dtype=float32" in finding.says


def test_a_reference_that_moves(context: CheckContext) -> None:
    context.components.policy.reference_lm = context.components.policy.lm
    finding = found(list(preflight_updates.updates(context)), "reference")
    assert not finding.ok and "moves with the policy" in finding.says


def test_a_sampler_that_learns_nothing(context: CheckContext) -> None:
    stuck = Local(context.components.policy, max_batch_size=64, compaction_threshold=0.25).reference_engine()
    finding = found(list(preflight_updates.updates(over(context, stuck))), "weights and the sampler")
    assert not finding.ok and "not the model that was trained" in finding.says


def test_an_update_that_reaches_the_sampler_on_a_real_architecture(tmp_path: Path) -> None:
    """The whole job on a folder with a random model: well, but for having nothing to learn from and never ending."""
    path = folder("gemma2", tmp_path)
    cfg = composed(
        "job=doctor", "policy=hf", f"policy.path={path}", "tuning=lora", "task=identity", "scale=smoke",
        "algo.max_tokens=6", "trainer.threads=1",
    )  # fmt: skip
    findings = list(preflight.run_checks(cfg))
    assert {finding.what for finding in findings if not finding.ok} <= {"truncation", "something to learn"}
    assert found(findings, "the update and the sampler").ok
    assert not found(findings, "something to learn").ok
