"""Declare the keys and types of the top level and of the configuration groups that have no class.

The comments in the YAML files of conf/ describe each key.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from amend.value_types import Count, Fraction, Level, Natural, NonNegative, Positive


class Budget(TypedDict):
    """The budget of a run; None: no limit."""

    sampled_tokens: Count | None
    episodes: Count | None


class Top(TypedDict):
    """Keys of conf/config.yaml."""

    job: Literal["train", "evaluate", "compare", "seeds", "grade", "pretrain", "train_orm", "report", "doctor"]
    seed: Natural
    budget: Budget
    runs_dir: str
    resume: bool
    checkpoint: str | None
    responses: str | None
    verdicts: str | None
    run: str | None
    runs: list[str] | str | None
    out: str | None
    to: Literal["html", "wandb"]
    publish: str | None


class Trainer(TypedDict):
    """Keys of conf/trainer: devices, checkpoints, and when a run stops because of reward errors."""

    strategy: Literal["single", "ddp", "fsdp"]
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Count | Literal["auto"]
    nodes: Count
    threads: Natural
    checkpoint_every: Count
    eval_checkpoint: Literal["best", "last"]
    max_reward_error_rate: Fraction


class Eval(TypedDict):
    """Keys of conf/eval: the evaluation before and after training."""

    problems: Count
    samples: Natural
    temperature: Positive
    pass_at_k_samples: Natural
    pass_at_k_problems: Count
    reranker: str | None
    shared_first_attempts: bool


class Alerts(TypedDict):
    """Keys of conf/alerts: the thresholds of the alerts, which ``training.alerts.AlertThresholds`` describes."""

    window: Count
    frac_reward_zero_std: Fraction
    entropy: Fraction
    kl: Positive
    unedited: Fraction
    sampling_efficiency_gap: Fraction
    clip_ratio: Fraction


class Scale(TypedDict):
    """Keys of conf/scale: the values that other groups refer to."""

    source: str
    num_iterations: Count
    stage1_iterations: Natural
    groups_per_batch: Count
    group_size: Count
    solutions: Count
    sft_minibatches: Count
    max_tokens: Count
    lr: NonNegative
    lr_scheduler_type: Literal["none", "linear"]
    beta2: NonNegative
    eval_problems: Count
    eval_samples: Natural
    pass_at_k_samples: Natural
    pass_at_k_problems: Count


class Shape(TypedDict):
    """Keys of pretrain.shape: the size of the built-in model, with the names of transformers."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count


class Habits(TypedDict):
    """Keys of pretrain.habits: the accuracies of the simulated writers of the pre-training documents."""

    first_right: Fraction
    hard: Level
    sound: list[Fraction]
    doubtful: list[Fraction]
    failed: list[Fraction]
    luck: Fraction


class Settle(TypedDict):
    """Keys of pretrain.settle: the last phase of pre-training, with other writers and a smaller learning rate."""

    steps: Count
    lr: Positive
    doubtful: list[Fraction]


class Pretrain(TypedDict):
    """Keys of conf/pretrain: the training of the built-in model."""

    out: str
    context: Count
    steps: Count
    batch: Count
    lr: Positive
    shape: Shape
    habits: Habits
    settle: Settle


class Orm(TypedDict):
    """Keys of conf/orm: the training of an outcome reward model."""

    path: str
    kind: Literal["outcome", "step"]
    problems: Count
    samples: Count
    temperature: Positive
    rollouts_per_step: Count
    held_out: Fraction
    epochs: Count
    minibatch: Count
    lr: Positive
    train_if_missing: bool


class Compare(TypedDict):
    """Keys of conf/compare: the runs of job=compare."""

    algorithms: list[str]
    seeds: list[Natural]
    sampled_tokens: Count
    overrides: list[str]


SETTINGS: dict[str, Any] = {
    "": Top,
    "trainer": Trainer,
    "eval": Eval,
    "alerts": Alerts,
    "scale": Scale,
    "pretrain": Pretrain,
    "orm": Orm,
    "compare": Compare,
}
