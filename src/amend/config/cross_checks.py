"""Check values that depend on each other.

Each of these invalid combinations would otherwise fail late in the run, or have no effect without a warning. The module
`schema` checks each value by itself. The checks here read plain values, and class attributes from the source of a
target, so they import nothing slow. A check raises UserError with one line that names the key, its value and what is
allowed. No check knows the name of an algorithm.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path

from amend.config.schema import PACKAGE
from amend.config.training_checks import TRAINING_CHECKS, Config, algo_attribute, dialogue_turns
from amend.config.value_checks import format_value
from amend.errors import UserError

BUILTIN_REPLY = 40  # largest number of tokens in a reply of the built-in model
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def check_cross_field(config: Config) -> None:
    """Check values that depend on each other.

    Args:
        config: The whole configuration as plain values.

    Raises:
        UserError: If a check fails; the message is that of the first one.
    """
    for check in CHECKS:
        check(config)
    if config["job"] not in ("train", "evaluate", "doctor"):
        return
    for check in RUN_CHECKS:
        check(config)
    if "num_iterations" not in config["algo"]:
        return  # a prompting method trains nothing and ignores the options below
    for check in TRAINING_CHECKS:
        check(config)


def is_installed(library: str) -> bool:
    """Return whether an optional library is installed, without importing it."""
    return importlib.util.find_spec(library) is not None


# every job ------------------------------------------------------------------------------------------------------------


def _check_grade(c: Config) -> None:
    for need in ("responses", "verdicts") if c["job"] == "grade" else ():
        if not c[need]:
            raise UserError(f"{need}=null: job={c['job']} needs it; allowed: a path")


def _check_report(c: Config) -> None:
    if c["job"] != "report":
        return
    if bool(c["run"]) == bool(c["runs"]):
        count = "both are given" if c["run"] else "neither is given"
        raise UserError(
            f"run={format_value(c['run'])}: job=report needs either run or runs, and {count}; allowed: run=FOLDER, or "
            "runs=... out=FOLDER"
        )
    if bool(c["runs"]) != bool(c["out"]):
        raise UserError(
            f"out={format_value(c['out'])}: out is the folder of the report of runs; allowed: runs=... out=FOLDER, or "
            "neither"
        )
    if c["to"] == "wandb" and not c["runs"]:
        raise UserError("to=wandb: a W&B Report needs runs; allowed: runs=... out=FOLDER, or to=html")
    if c["publish"] and c["to"] != "wandb":
        raise UserError(
            f"publish={c['publish']}: only a W&B Report can be published; allowed: to=wandb, or publish=null"
        )
    if c["publish"] and not re.fullmatch(r"[^/]+/[^/]+", c["publish"]):
        raise UserError(f"publish={c['publish']}: not a W&B project; allowed: entity/project")
    if c["to"] == "wandb" and not is_installed("wandb_workspaces"):
        raise UserError('to=wandb: wandb-workspaces is not installed; allowed: pip install "amend[report]", or to=html')


def _check_logger(c: Config) -> None:
    if c["logger"]["name"] == "trackio" and not is_installed("trackio"):
        raise UserError(
            'logger=trackio: trackio is not installed; allowed: pip install "amend[trackio]", or logger=csv'
        )


def _check_paths(c: Config) -> None:
    for name in ("checkpoint", "responses", "run"):
        if c[name] and not Path(c[name]).exists():
            raise UserError(f"{name}={c[name]}: this path does not exist; allowed: a path that exists")


def _check_trainer(c: Config) -> None:
    trainer, job = c["trainer"], c["job"]
    for key in ("devices", "nodes"):
        if trainer["strategy"] == "single" and trainer[key] != 1:
            raise UserError(
                f"trainer.{key}={trainer[key]}: trainer.strategy=single uses one process; allowed: 1, or trainer=ddp"
            )
    if trainer["strategy"] != "single" and job in ("grade", "pretrain", "train_orm"):
        raise UserError(f"trainer.strategy={trainer['strategy']}: job={job} uses one process; allowed: single")


def _check_engine(c: Config) -> None:
    """Check the strategy: the engine of transformers needs full weights, and one process updates a vLLM server."""
    engine, trainer = c["rollout"]["name"], c["trainer"]
    strategy, allowed_with = trainer["strategy"], {"hf": ("single", "ddp"), "vllm": ("single",)}
    if strategy not in allowed_with.get(engine, (strategy,)):
        raise UserError(
            f"rollout={engine}: does not support trainer.strategy={strategy}; allowed: rollout=local, or "
            f"trainer.strategy={' or '.join(allowed_with[engine])}"
        )
    if engine == "vllm" and trainer["accelerator"] == "cpu":
        raise UserError(
            "rollout=vllm: weights are sent to the server from a GPU; allowed: trainer.accelerator=gpu or auto"
        )


def _check_has_reward(c: Config) -> None:
    if not c["reward"]:
        raise UserError("reward={}: no reward is given; allowed: at least one, such as reward=oracle")


def _check_policy_path(c: Config) -> None:
    path = c["policy"]["path"]
    if not Path(path).expanduser().is_dir() and not HUB_ID.fullmatch(path):
        raise UserError(f"policy.path={path}: no such folder; allowed: builtin, a folder with a model, or a hub id")


def _check_eval_problems(c: Config) -> None:
    if c["eval"]["problems"] > c["task"].get("test", c["eval"]["problems"]):
        raise UserError(f"eval.problems={c['eval']['problems']}: allowed: at most task.test={c['task']['test']}")


def _check_train_orm(c: Config) -> None:
    if c["job"] == "train_orm" and c["tuning"]["name"] != "full":
        raise UserError(f"tuning={c['tuning']['name']}: job=train_orm trains all weights; allowed: tuning=full")


CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_grade,
    _check_report,
    _check_logger,
    _check_paths,
    _check_trainer,
    _check_engine,
    _check_has_reward,
    _check_policy_path,
    _check_eval_problems,
    _check_train_orm,
)


# jobs that load a policy and play the dialogue ------------------------------------------------------------------------


def _check_reply_fits_model(c: Config) -> None:
    """Check that the replies leave room for a question in the context of the model.

    This is a lower bound. ``components.check_context_length`` counts exactly, with the tokenizer.
    """
    path, turns, max_tokens = c["policy"]["path"], dialogue_turns(c), c["algo"]["max_tokens"]
    folder = PACKAGE / "policy" / "tiny" if path == "builtin" else Path(path).expanduser()
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # a hub id, or a folder that the loader reports itself
    context = config.get("text_config", config).get("max_position_embeddings")
    if isinstance(context, int) and turns * max_tokens >= context:
        raise UserError(
            f"algo.max_tokens={max_tokens}: {turns} replies of that length do not fit the model, whose context is "
            f"{context} tokens (policy.path={path}); allowed: less than {context // turns}"
        )


def _check_reply_length(c: Config) -> None:
    """Check the reply length: its default is for the built-in model, and other models write longer replies."""
    length, name, path = c["algo"]["max_tokens"], c["policy"]["name"], c["policy"]["path"]
    is_real = (
        c["task"].get("source", "builtin") != "builtin" and path != "builtin" and not Path(path).expanduser().is_dir()
    )
    if c["job"] in ("train", "evaluate") and is_real and length == c["scale"]["max_tokens"] <= BUILTIN_REPLY:
        policy = path if name == "hf" else name
        raise UserError(
            f"algo.max_tokens={length}: this default and that of algo.lr are for the built-in model; nearly every "
            f"reply of policy={policy} on task={c['task']['name']} would be truncated; allowed: scale=paper "
            f"policy={policy}, or similar to algo.max_tokens=512 algo.lr=1e-6"
        )


def _check_first_attempts(c: Config) -> None:
    if c["task"].get("first_attempts") and c["dialogue"]["name"] != "single":
        raise UserError(
            f"dialogue={c['dialogue']['name']}: with task.first_attempts, the question already has the first attempt; "
            "allowed: dialogue=single"
        )


def _check_evaluate_trains_nothing(c: Config) -> None:
    for group, none in (("init", "pretrained"), ("distillation", "none")):
        if c["job"] == "evaluate" and c[group]["name"] != none:
            raise UserError(f"{group}={c[group]['name']}: job=evaluate trains nothing; allowed: {group}={none}")


def _check_shared_first_attempts(c: Config) -> None:
    if c["eval"]["shared_first_attempts"] and dialogue_turns(c) < 2:
        raise UserError(
            "eval.shared_first_attempts=true: the dialogue has no second attempt; allowed: false, or a longer dialogue"
        )


def _check_one_process(c: Config) -> None:
    strategy = c["trainer"]["strategy"]
    if strategy == "single":
        return
    for group, none in (("init", "pretrained"), ("distillation", "none")):
        if c[group]["name"] != none:
            raise UserError(
                f"{group}={c[group]['name']}: trainer.strategy={strategy}: this training needs one process; "
                f"allowed: {group}={none}, or trainer.strategy=single"
            )
    if c["orm"]["train_if_missing"]:
        raise UserError(
            f"orm.train_if_missing=true: trainer.strategy={strategy}: training an outcome model needs one process; "
            f"allowed: false, after job=train_orm"
        )
    if c["task"].get("calculator") and strategy == "fsdp":
        raise UserError(
            "task.calculator=true: trainer.strategy=fsdp: replies pause for the calculator at different steps on each "
            "rank, but FSDP needs the same steps on all ranks; allowed: false, or trainer.strategy=ddp"
        )


def _check_dialogue(c: Config) -> None:
    """Check the dialogue of the prompting methods, which work with one dialogue only."""
    name, dialogue, turns = c["algo"]["name"], c["dialogue"]["name"], dialogue_turns(c)
    if algo_attribute(c, "replaces_second_turn") and (turns != 2 or dialogue == "self_refine"):
        raise UserError(
            f"dialogue={dialogue}: algo={name} has two turns, a first attempt and a chosen reply, and this dialogue "
            f"has {turns} turns; allowed: dialogue=self_correct with dialogue.turns=2"
        )
    required = algo_attribute(c, "required_dialogue")
    if required and dialogue != required:
        raise UserError(f"dialogue={dialogue}: algo={name} works with one dialogue only; allowed: dialogue={required}")


RUN_CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_reply_fits_model,
    _check_reply_length,
    _check_first_attempts,
    _check_evaluate_trains_nothing,
    _check_shared_first_attempts,
    _check_one_process,
    _check_dialogue,
)
