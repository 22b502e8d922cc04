"""Cross-field checks. Each of these invalid combinations would otherwise fail late in the run or be silently ignored.

``schema`` checks each value by itself. The checks here concern several values. They read plain values and class
attributes that are found in the source of a target, so nothing heavy is imported. A check raises UserError with one
line
that names the key, its value and what is allowed. No check knows the name of an algorithm.
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
        config: the whole configuration as plain values.

    Raises:
        UserError: for the first check that fails.
    """
    for check in CHECKS:
        check(config)
    if config["job"] not in ("train", "evaluate", "doctor"):
        return
    for check in RUN_CHECKS:
        check(config)
    if "num_iterations" not in config["algo"]:
        return  # a prompting method: it trains nothing, and ignores every option below
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
        given = "both are given" if c["run"] else "neither is given"
        raise UserError(
            f"run={format_value(c['run'])}: job=report: run and runs: {given}; allowed: run=FOLDER, or runs=... "
            "out=FOLDER"
        )
    if bool(c["runs"]) != bool(c["out"]):
        raise UserError(
            f"out={format_value(c['out'])}: where the report of runs goes; allowed: runs=... out=FOLDER, or neither"
        )
    if c["to"] == "wandb" and not c["runs"]:
        raise UserError("to=wandb: a W&B Report is made of runs; allowed: runs=... out=FOLDER, or to=html")
    if c["publish"] and c["to"] != "wandb":
        raise UserError(f"publish={c['publish']}: only a W&B Report is published; allowed: to=wandb, or publish=null")
    if c["publish"] and not re.fullmatch(r"[^/]+/[^/]+", c["publish"]):
        raise UserError(f"publish={c['publish']}: not a place at W&B; allowed: entity/project")
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
            raise UserError(f"{name}={c[name]}: there is nothing at that path; allowed: a path that exists")


def _check_trainer(c: Config) -> None:
    trainer, job = c["trainer"], c["job"]
    for key in ("devices", "nodes"):
        if trainer["strategy"] == "single" and trainer[key] != 1:
            raise UserError(
                f"trainer.{key}={trainer[key]}: trainer.strategy=single is one process; allowed: 1, or trainer=ddp"
            )
    if trainer["strategy"] != "single" and job in ("grade", "pretrain", "train_orm"):
        raise UserError(f"trainer.strategy={trainer['strategy']}: job={job} is one process; allowed: single")


def _check_engine(c: Config) -> None:
    """Transformers' engine reads full weights, and one process sends weights to a vLLM server."""
    engine, trainer = c["rollout"]["name"], c["trainer"]
    strategy, allowed_with = trainer["strategy"], {"hf": ("single", "ddp"), "vllm": ("single",)}
    if strategy not in allowed_with.get(engine, (strategy,)):
        raise UserError(
            f"rollout={engine}: not with trainer.strategy={strategy}; allowed: rollout=local, or trainer.strategy="
            f"{' or '.join(allowed_with[engine])}"
        )
    if engine == "vllm" and trainer["accelerator"] == "cpu":
        raise UserError("rollout=vllm: weights reach a server from a GPU; allowed: trainer.accelerator=gpu or auto")


def _check_has_reward(c: Config) -> None:
    if not c["reward"]:
        raise UserError("reward={}: no part is given; allowed: at least one, such as reward=oracle")


def _check_policy_path(c: Config) -> None:
    path = c["policy"]["path"]
    if not Path(path).expanduser().is_dir() and not HUB_ID.fullmatch(path):
        raise UserError(f"policy.path={path}: no such folder; allowed: builtin, a folder with a model, or a hub id")


def _check_eval_problems(c: Config) -> None:
    if c["eval"]["problems"] > c["task"].get("test", c["eval"]["problems"]):
        raise UserError(f"eval.problems={c['eval']['problems']}: allowed: at most task.test={c['task']['test']}")


def _check_train_orm(c: Config) -> None:
    if c["job"] == "train_orm" and c["tuning"]["name"] != "full":
        raise UserError(f"tuning={c['tuning']['name']}: job=train_orm trains a whole model; allowed: tuning=full")


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
    """Leave room for a question. ``components.check_context_length`` counts exactly once the tokenizer is loaded."""
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
    """The default reply length is the built-in model's. A model from the hub on a real task writes longer replies."""
    length, name, path = c["algo"]["max_tokens"], c["policy"]["name"], c["policy"]["path"]
    real = (
        c["task"].get("source", "builtin") != "builtin" and path != "builtin" and not Path(path).expanduser().is_dir()
    )
    if c["job"] in ("train", "evaluate") and real and length == c["scale"]["max_tokens"] <= BUILTIN_REPLY:
        who = path if name == "hf" else name
        raise UserError(
            f"algo.max_tokens={length}: the built-in model's length (and algo.lr its learning rate), which cuts nearly "
            f"every reply of policy={who} on task={c['task']['name']}; allowed: scale=paper policy={who}, or "
            "algo.max_tokens=512 algo.lr=1e-6 and the like"
        )


def _check_first_attempts(c: Config) -> None:
    if c["task"].get("first_attempts") and c["dialogue"]["name"] != "single":
        raise UserError(
            f"dialogue={c['dialogue']['name']}: task.first_attempts are part of the question already; "
            "allowed: dialogue=single"
        )


def _check_evaluate_trains_nothing(c: Config) -> None:
    for group, none in (("init", "pretrained"), ("distillation", "none")):
        if c["job"] == "evaluate" and c[group]["name"] != none:
            raise UserError(f"{group}={c[group]['name']}: job=evaluate trains nothing; allowed: {group}={none}")


def _check_shared_first_attempts(c: Config) -> None:
    if c["eval"]["shared_first_attempts"] and dialogue_turns(c) < 2:
        raise UserError(
            "eval.shared_first_attempts=true: there is no second attempt to measure; allowed: false, or a longer "
            "dialogue"
        )


def _check_one_process(c: Config) -> None:
    strategy = c["trainer"]["strategy"]
    if strategy == "single":
        return
    for group, none in (("init", "pretrained"), ("distillation", "none")):
        if c[group]["name"] != none:
            raise UserError(
                f"{group}={c[group]['name']}: trainer.strategy={strategy}: it is trained in one process; "
                f"allowed: {group}={none}, or trainer.strategy=single"
            )
    if c["orm"]["train_if_missing"]:
        raise UserError(
            f"orm.train_if_missing=true: trainer.strategy={strategy}: an outcome model is trained in one process; "
            f"allowed: false, after job=train_orm"
        )
    if c["task"].get("calculator") and strategy == "fsdp":
        raise UserError(
            "task.calculator=true: trainer.strategy=fsdp: processes whose replies pause in different places do not "
            "keep step; allowed: false, or trainer.strategy=ddp"
        )


def _check_dialogue(c: Config) -> None:
    """Prompting methods that work with one dialogue only."""
    name, dialogue, turns = c["algo"]["name"], c["dialogue"]["name"], dialogue_turns(c)
    if algo_attribute(c, "replaces_second_turn") and (turns != 2 or dialogue == "self_refine"):
        raise UserError(
            f"dialogue={dialogue}: algo={name} has a first attempt and the reply it chose, which is {turns} turns "
            f"there; allowed: dialogue=self_correct, of 2"
        )
    required = algo_attribute(c, "required_dialogue")
    if required and dialogue != required:
        raise UserError(f"dialogue={dialogue}: algo={name} is its dialogue; allowed: dialogue={required}")


RUN_CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_reply_fits_model,
    _check_reply_length,
    _check_first_attempts,
    _check_evaluate_trains_nothing,
    _check_shared_first_attempts,
    _check_one_process,
    _check_dialogue,
)
