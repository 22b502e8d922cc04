"""Against TRL: the same tokens, rewards and weights through its trainers give the same loss and the same gradients.

The two sides share no code but transformers' forward pass. TRL pads prompts on the left and replies on the right, ours
stand in one row; TRL reads credit from rewards itself (``_generate_and_score_completions``, with drawing replaced by
tokens from a list), ours by ``advantages``. Three sets of weights make every ratio and every KL count: the base model
(which the reference is), the one that sampled, and the one that learns.

TRL's losses are private methods, so this holds for one minor version and is skipped, saying so, under any other. Where
TRL's default is another objective it is switched off by name: ``use_bias_correction_kl`` (k3 times the ratio).
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from datasets import Dataset
from scripted import IMITATION, Stage, ready, stage
from toys import GRPO as GRPO_KNOBS
from toys import LOOP, drift, handed

if not version("trl").startswith("1.16."):
    pytest.skip(f"TRL {version('trl')}: its losses are private, and were read at 1.16", allow_module_level=True)

from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer

from amend.algo.base import Algorithm
from amend.algo.dpo import DPO
from amend.algo.grpo import GRPO
from amend.algo.rloo import RLOO
from amend.algo.sft import SFT
from amend.batch import Batch, collate
from amend.dialogue import Single
from amend.policy.attention import NAME
from amend.policy.policy import Policy
from amend.types import Completion, Episode, Problem, Scored, Turn

VALUE, GRADIENT = 1e-6, 1e-5  # of the loss, absolute and relative; of each weight's gradient, relative to its norm
SAME = {"attn_implementation": NAME}  # losses are compared, and not the order in which two kernels add up
LENGTH = 4  # tokens of a reply at most
LOW, HIGH = 0.01, 0.03  # near enough for clipping to happen, and not everywhere
PROMPTS = ["ab", "abba"]  # of different lengths
REPLIES = ["abb", "b", "aab", "ba", "a", "bbb"]  # three samples of each prompt, with an end token each
REWARDS = [1.0, 0.0, 0.25, 0.0, 1.0, 0.5]
SAMPLES = 3

Found = tuple[float, dict[str, torch.Tensor]]  # a loss, and the gradient of each weight


class House(NamedTuple):
    """A toy policy (its reference is the base model), the folder TRL loads it from, and two sets of weights."""

    stage: Stage
    folder: Path
    sampler: dict[str, torch.Tensor]
    learner: dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    made = stage(says, dialogue=Single())
    folder = tmp_path_factory.mktemp("trl")
    made.policy.lm.save_pretrained(folder / "base")
    made.policy.tokenizer.save_pretrained(folder / "base")
    sampler, learner = (_copy(drift(made.policy, scale)) for scale in (0.02, 0.03))
    return House(made, folder, sampler, learner)


def _copy(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.lm.state_dict().items()}


def _close(ours: Found, theirs: Found) -> None:
    (loss, gradients), (trl_loss, trl_gradients) = ours, theirs
    assert loss == pytest.approx(trl_loss, abs=VALUE, rel=VALUE)
    assert gradients.keys() == trl_gradients.keys()
    assert max(float(g.norm()) for g in gradients.values()) > 1e-3  # it is no comparison of nothing with nothing
    for name, gradient in gradients.items():
        assert float((gradient - trl_gradients[name]).norm()) <= GRADIENT * float(trl_gradients[name].norm()), name


def _gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}


def _ours(algorithm: Algorithm, batch: Batch) -> Found:
    """One update's loss and gradients, without the step."""
    ready(algorithm)
    algorithm.policy.lm.zero_grad()
    batch = algorithm.prepare(batch)
    found = algorithm.accumulate(batch, algorithm.advantages(batch))
    return found["loss"], _gradients(algorithm.policy.lm)


# GRPO and RLOO: from rewards to credit to loss


def _rollout(policy: Policy, prompts: int) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(prompt, reply) of each episode of the first prompts, in tokens."""
    asked = [policy.renderer.encode(prompt) for prompt in PROMPTS[:prompts] for _ in range(SAMPLES)]
    complete = policy.renderer.render_complete_reply
    return [(prompt, complete(reply)) for prompt, reply in zip(asked, REPLIES, strict=False)]


def _batch(house: House, rewards: list[float]) -> Batch:
    """The rollout as a batch of ours, with the log-probabilities that it was sampled with."""
    policy = house.stage.policy
    rows = _rollout(policy, len(rewards) // SAMPLES)

    def collated(logp: list[tuple[float, ...]]) -> Batch:
        made = []
        for i, (prompt, reply) in enumerate(rows):
            turn = Turn(prompt, Completion(reply, logp[i], "", "end"))
            problem = Problem(PROMPTS[i // SAMPLES], PROMPTS[i // SAMPLES], "")
            made.append(Scored(Episode(problem, i % SAMPLES, (turn,)), (rewards[i],), {}))
        return collate(made)

    batch = collated([(0.0,) * len(reply) for _, reply in rows])
    policy.lm.load_state_dict(house.sampler)
    with torch.no_grad():
        said = policy.logprobs(batch.tokens, batch.loss_mask, batch.temperature)
    policy.lm.load_state_dict(house.learner)
    return collated([tuple(row[mask].tolist()) for row, mask in zip(said, batch.loss_mask, strict=True)])


def _trained(
    kind: Any, config: Any, house: House, rewards: list[float], beside: tuple[Any, ...], knobs: dict[str, Any]
) -> Found:
    """A real trainer over the saved model that "draws" the replies above with one set of weights and learns from them
    with another. ``beside``: what ``_generate`` returns besides tokens and texts."""
    prompts = len(rewards) // SAMPLES
    args = config(
        output_dir=str(house.folder / "out"), report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
        model_init_kwargs=SAME, activation_checkpointing=False, per_device_train_batch_size=len(rewards),
        num_generations=SAMPLES, max_completion_length=LENGTH, epsilon=LOW, epsilon_high=HIGH, num_iterations=2,
        **knobs,
    )  # fmt: skip
    rows = [{"prompt": prompt} for prompt in PROMPTS[:prompts] for _ in range(SAMPLES)]
    trainer = kind(
        model=str(house.folder / "base"), reward_funcs=lambda completions, **kwargs: rewards, args=args,
        train_dataset=Dataset.from_list(rows),
    )  # fmt: skip
    asked, drawn = ([list(tokens) for tokens in part] for part in zip(*_rollout(house.stage.policy, prompts)))
    trainer._generate = lambda prompts: (asked, drawn, *beside)
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    trainer.model.load_state_dict(house.sampler)
    inputs = trainer._generate_and_score_completions(rows)
    trainer.model.load_state_dict(house.learner)
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), _gradients(trainer.model)


def _grpo(house: House, **knobs: Any) -> GRPO:
    own = {
        "turns": 1,
        "max_tokens": LENGTH,
        "update_epochs": 2,
        "clip_ratio_low": LOW,
        "clip_ratio_high": HIGH,
        **knobs,
    }
    return GRPO(*handed(house.stage.policy), **{**LOOP, **GRPO_KNOBS, **own})


def _trl_grpo(house: House, rewards: list[float], **knobs: Any) -> Found:
    texts = list(REPLIES[: len(rewards)])
    knobs = {"use_bias_correction_kl": False, **knobs}
    return _trained(GRPOTrainer, GRPOConfig, house, rewards, (None, texts, None, {}, None, None), knobs)


def test_the_weights_are_as_far_apart_as_every_term_needs(house: House) -> None:
    """Ratios above, below and within the clips; none at the reference."""
    policy, batch = house.stage.policy, _batch(house, REWARDS)
    with torch.no_grad():
        said = policy.logprobs(batch.tokens, batch.loss_mask, batch.temperature)
        reference = policy.reference_logprobs(batch.tokens, batch.loss_mask, batch.temperature)
    ratio = (said - batch.old_logprobs)[batch.loss_mask].exp()
    assert bool((ratio > 1 + HIGH).any()) and bool((ratio < 1 - LOW).any())
    assert bool(((ratio < 1 + HIGH) & (ratio > 1 - LOW)).any())
    assert bool(((said - reference)[batch.loss_mask] != 0).all())


@pytest.mark.parametrize("beta", [0.0, 0.04])
@pytest.mark.parametrize(
    ("loss_type", "reduction", "standardize"),
    [
        ("grpo", "seq_mean_token_mean", True),
        ("bnpo", "token_mean", True),
        ("dapo", "token_mean", True),
        ("dr_grpo", "seq_mean_token_sum_norm", False),
        ("grpo", "seq_mean_token_mean", False),
    ],
)
def test_grpo(house: House, loss_type: str, reduction: str, standardize: bool, beta: float) -> None:
    ours = _grpo(house, kl_coef=beta, loss_agg_mode=reduction, scale_rewards=standardize)
    scale = "group" if standardize else "none"
    theirs = _trl_grpo(house, REWARDS, loss_type=loss_type, beta=beta, scale_rewards=scale)
    _close(_ours(ours, _batch(house, REWARDS)), theirs)


def test_grpo_that_leaves_out_groups_paid_alike(house: House) -> None:
    """With ``skip_equal``, the loss is TRL's of the other groups alone, whichever way it is reduced."""
    for loss_type, reduction in (
        ("grpo", "seq_mean_token_mean"),
        ("bnpo", "token_mean"),
        ("dr_grpo", "seq_mean_token_sum_norm"),
    ):
        ours = _grpo(house, kl_coef=0.04, loss_agg_mode=reduction, remove_constant_reward_groups=True)
        theirs = _trl_grpo(house, REWARDS[:SAMPLES], loss_type=loss_type, beta=0.04, scale_rewards="group")
        _close(_ours(ours, _batch(house, REWARDS[:SAMPLES] + [0.5] * SAMPLES)), theirs)


def test_grpo_leaves_out_whole_groups_and_not_parts_of_them(house: House) -> None:
    """In steps of one episode each every episode is alike by itself; the group is not, and each step moves."""
    made = ready(
        _grpo(house, kl_coef=0.0, update_epochs=1, num_minibatches=SAMPLES, remove_constant_reward_groups=True, lr=0.0)
    )
    found = made.optimize(_batch(house, [1.0, 0.0, 0.25] + [0.5] * SAMPLES), 1, SAMPLES, (0.0, 0.0))
    assert made.counters["optimizer_steps"] == SAMPLES and found["grad_norm"] > 0
    steps = made.minibatches(made.prepare(_batch(house, [1.0, 0.0, 0.25] + [0.5] * SAMPLES)), 2 * SAMPLES, 0)
    assert [len(step) for step in steps] == [1] * SAMPLES


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("back", [False, True], ids=["there", "back"])
def test_rloo(house: House, beta: float, back: bool) -> None:
    """Replies whose ratios are above one, and the other way round."""
    house = house._replace(sampler=house.learner, learner=house.sampler) if back else house
    ours = RLOO(
        *handed(house.stage.policy),
        **{**LOOP, "turns": 1, "update_epochs": 2, "kl_coef": beta, "clip_ratio_low": LOW, "clip_ratio_high": HIGH},
    )
    theirs = _trained(RLOOTrainer, RLOOConfig, house, REWARDS, (list(REPLIES),), {"beta": beta})
    _close(_ours(ours, _batch(house, REWARDS)), theirs)


# DPO and SFT: from the data that a run writes


def says(prompt: str, sample: int, turn: int) -> str:
    """The even samples right, the odd ones wrong, none as long as another."""
    return "b" * sample + f"\\boxed{{{prompt[10] if sample % 2 == 0 else 'a'}}}"


def _from_data(kind: Any, config: Any, house: House, rows: list[dict[str, Any]], knobs: dict[str, Any]) -> Found:
    """A real trainer's loss of all rows at once."""
    args = config(
        output_dir=str(house.folder / "out"), report_to="none", use_cpu=True, bf16=False, disable_tqdm=True,
        model_init_kwargs=SAME, activation_checkpointing=False, **knobs,
    )  # fmt: skip
    trainer = kind(model=str(house.folder / "base"), args=args, train_dataset=Dataset.from_list(rows))
    inputs = trainer.data_collator([trainer.train_dataset[i] for i in range(len(rows))])
    trainer.model.train()
    trainer.model.load_state_dict(house.learner)
    loss = trainer.compute_loss(trainer.model, dict(inputs))
    loss.backward()
    return loss.item(), _gradients(trainer.model)


def _gathered(house: House, kind: Any, **knobs: Any) -> Any:
    """A learner that has gathered and written its data, and fitted nothing (its learning rate is 0)."""
    plain = {"turns": 1, "num_iterations": 1, "lr": 0.0, "init_from": "last", "accumulate_data": True}
    made = ready(kind(*house.stage.handed, **{**LOOP, **IMITATION, **plain, **knobs}))
    made.policy.lm.load_state_dict(house.learner)
    made.training_step(house.stage.problems(2), 0)
    return made


@pytest.mark.parametrize("form", ["sigmoid", "hinge", "ipo"])
def test_dpo(house: House, form: str) -> None:
    made = _gathered(
        house, DPO, group_size=6, loss_type=form, beta=0.3, rpo_alpha=0.0, pairs="attempts", max_per_problem=2
    )
    theirs = _from_data(DPOTrainer, DPOConfig, house, made.data, {"loss_type": [form], "beta": 0.3})
    assert len(made.data) == 4
    _close(_ours(made, collate(made.kept)), theirs)


def test_dpo_with_the_right_replys_likelihood(house: House) -> None:
    """TRL's mean is over all tokens of the batch and ours over a reply's first, as in the paper: one pair is alike."""
    made = _gathered(
        house, DPO, group_size=6, loss_type="sigmoid", beta=0.3, rpo_alpha=0.7, pairs="attempts", max_per_problem=1
    )
    pair = collate(made.kept[:2])
    knobs = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.7], "beta": 0.3}
    _close(_ours(made, pair), _from_data(DPOTrainer, DPOConfig, house, made.data[:1], knobs))


def test_sft(house: House) -> None:
    """Solutions of different lengths; the prompt is not learnt."""
    made = _gathered(house, SFT)
    problems = [Problem("p", "Say 0", "0", {"solution": "It is 0."}), Problem("q", "Say it", "1", {"solution": "1"})]
    kept = made.reward(made.episodes(problems))
    rows = [made.row(trace) for trace in kept]
    _close(_ours(made, collate(kept)), _from_data(SFTTrainer, SFTConfig, house, rows, {}))
