"""LoRA: one copy of the weights; the reference is the base model bit for bit, before and after training; the update
reaches the sampler, the checkpoint and the resumed run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, batch_of, folder, lora, model, moved, played, policy, tokenizer  # type: ignore[import-not-found]
from composed import composed
from omegaconf import DictConfig
from scripted import ready
from toys import LOOP, handed, scored, wrapped

from amend import cli, errors
from amend.algo.multi_turn import MultiTurn
from amend.config.compose import config_dir
from amend.errors import UserError
from amend.policy.policy import Policy
from amend.policy.tuning import Lora
from amend.rollout.local import Local
from amend.training import callbacks
from amend.types import SamplingParams


def trained(made: Policy) -> list[torch.nn.Parameter]:
    return [weights for weights in made.lm.parameters() if weights.requires_grad]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_reference_is_the_base_model_bit_for_bit(name: str) -> None:
    plain, made = policy(name), policy(name, lora())
    assert made.reference_lm is None, "there is a second copy of the weights"
    batch = batch_of(played(made))
    with torch.no_grad():
        base = plain.logprobs(batch.tokens, batch.loss_mask, 1.0)
        assert torch.equal(made.logprobs(batch.tokens, batch.loss_mask, 1.0), base)  # an update that begins as nothing
        moved(made)
        assert torch.equal(made.reference_logprobs(batch.tokens, batch.loss_mask, 1.0), base)
        assert not torch.allclose(made.logprobs(batch.tokens, batch.loss_mask, 1.0), base, atol=1e-3)
    out = made(batch.tokens, batch.loss_mask, 1.0, reference=True)
    assert float(out.kl.detach()[batch.loss_mask].mean()) > 1e-4


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_step_moves_the_update_alone_and_the_sampler_sees_it(name: str) -> None:
    made = policy(name, lora())
    engine = Local(made, max_batch_size=64, compaction_threshold=0.25)
    base = engine.reference_engine()
    prompts, sampling_params = [made.renderer.encode("5 and 7")] * 4, SamplingParams(1.0, 10)
    seeds = [(i,) for i in range(4)]
    first = engine.sample(prompts, sampling_params, seeds)
    assert base.sample(prompts, sampling_params, seeds) == first
    before = {key: value.clone() for key, value in made.lm.named_parameters()}
    learner = ready(MultiTurn(*handed(made), **LOOP | {"lr": 0.05}, kl_coef=0.1, reward_turns="all", gamma=0.0))
    episodes = played(made)
    learner.update([scored(e, [1.0 - i % 2, i % 3 / 2]) for i, e in enumerate(episodes)])
    for key, value in made.lm.named_parameters():
        assert torch.equal(value, before[key]) or "lora_" in key
        assert value.requires_grad == ("lora_" in key)
    assert any(not torch.equal(value, before[key]) for key, value in made.lm.named_parameters())
    engine.sync_weights()
    base.sync_weights()
    after = engine.sample(prompts, sampling_params, seeds)
    assert [reply.logp for reply in after] != [reply.logp for reply in first]
    assert base.sample(prompts, sampling_params, seeds) == first


def test_matrices_of_the_update_are_exact_though_the_model_is_not() -> None:
    words = tokenizer("llama")
    lm = model("llama", len(words), words.eos_token_id).to(torch.bfloat16)
    made = wrapped(lm, words, lora())
    assert made.lm.dtype == torch.bfloat16
    assert {weights.dtype for weights in trained(made)} == {torch.float32}
    batch = batch_of(played(made))
    loss = made.logprobs(batch.tokens, batch.loss_mask, 1.0).sum()
    loss.backward()
    assert all(torch.isfinite(weights.grad).all() for weights in trained(made) if weights.grad is not None)


def test_a_checkpoint_holds_the_update_and_comes_back() -> None:
    made = moved(policy("llama", lora()))
    state = made.lm.state_dict()
    assert state and all("lora_" in key for key in state)
    batch = batch_of(played(made))
    with torch.no_grad():
        wanted = made.logprobs(batch.tokens, batch.loss_mask, 1.0)
        other = policy("llama", lora())
        other.lm.load_state_dict(state)
        assert torch.equal(other.logprobs(batch.tokens, batch.loss_mask, 1.0), wanted)
        whole = policy("llama", lora())
        whole.load_state_dict(made.state_dict())
        assert torch.equal(whole.logprobs(batch.tokens, batch.loss_mask, 1.0), wanted)


def test_restart_and_a_reference_that_moves() -> None:
    made = policy("llama", lora())
    batch = batch_of(played(made))

    def reads(made: Policy) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            of = batch.tokens, batch.loss_mask, 1.0
            return made.logprobs(*of), made.reference_logprobs(*of)

    base = reads(made)[0]
    moved(made)
    there = reads(made)[0]
    made.freeze_reference()
    moved(made)
    further, reference = reads(made)
    assert torch.equal(reference, there) and not torch.equal(further, there)
    assert len(trained(made)) == len(trained(policy("llama", lora()))), "the reference's update would be trained"
    other = policy("llama", lora())
    other.load_state_dict(made.state_dict())  # a resumed run, after the reference has moved
    assert all(torch.equal(a, b) for a, b in zip(reads(other), (further, reference), strict=True))
    made.reset_to_base()
    assert torch.equal(reads(made)[0], base)


@pytest.mark.parametrize("targets", [["q_prj"], ["lm_head"], ["embed_tokens"], []])
def test_targets_that_cannot_be(targets: list[str]) -> None:
    with pytest.raises(UserError, match=r"tuning.targets.*allowed: all, or some of .*q_proj"):
        policy("llama", Lora(rank=2, alpha=4.0, targets=targets))


def test_targets_say_which_matrices() -> None:
    made = policy("llama", Lora(rank=3, alpha=4.0, targets=["q_proj", "v_proj"]))
    names = {key.split(".")[-4] for key, value in made.lm.named_parameters() if value.requires_grad}
    assert names == {"q_proj", "v_proj"}
    assert {min(value.shape) for value in trained(made)} == {3}


def small(tmp_path: Path, *overrides: str) -> DictConfig:
    return composed(
        "policy=hf", f"policy.path={folder('qwen2', tmp_path / 'model')}", "tuning=lora", "scale=smoke",
        "algo.max_tokens=16", "eval.problems=4", "eval.samples=0", "logger=none", "algo.num_iterations=4",
        "reward=length", "reward.length.buffer=16", "algo.stage1_iterations=2", "algo.reference=previous",
        "trainer.checkpoint_every=1", "trainer.threads=1", f"runs_dir={tmp_path / 'runs'}",
        *overrides,
    )  # fmt: skip


def test_a_run_resumes_with_its_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the composition root: a run cut after its third round and resumed ends as the one that was not."""
    from amend.training import callbacks

    assert config_dir().is_dir()
    ends = []
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
        if name == "cut":
            ended = callbacks.GracefulStop.on_train_batch_end

            def stop(self: callbacks.GracefulStop, *given: object, was: Callable[..., None] = ended) -> None:
                self._is_asked = given[1].iteration == 3  # type: ignore[attr-defined]  # as if Ctrl-C had been typed
                was(self, *given)

            with monkeypatch.context() as patch:
                patch.setattr(callbacks.GracefulStop, "on_train_batch_end", stop)
                assert cli.run_job(small(tmp_path / name)) == errors.INTERRUPTED
            assert cli.run_job(small(tmp_path / name, "resume=true")) == 0
        else:
            assert cli.run_job(small(tmp_path / name)) == 0
        last = next((tmp_path / name / "runs").glob("math/score/*/checkpoints/last.ckpt"))
        saved = torch.load(last, weights_only=True)["state_dict"]
        assert all("lora_" in key for key in saved) and any(".reference." in key for key in saved)
        ends.append(saved)
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])
    assert any(float(value.abs().max()) > 0 for key, value in ends[0].items() if "lora_B" in key)
