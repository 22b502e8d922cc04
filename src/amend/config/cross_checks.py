"""Cross-field checks. Each of these invalid combinations would otherwise fail late in the run or be silently ignored.

``schema`` checks each value by itself. The checks here concern several values. They read plain values and class
attributes that are found in the source of a target, so nothing heavy is imported. A check raises UserError with one line
that names the key, its value and what is allowed. No check knows the name of an algorithm.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amend.config.schema import PACKAGE, class_attribute
from amend.config.value_checks import format_value
from amend.errors import UserError

Config = Mapping[str, Any]

GROUP_BASELINES = ("problem", "context")  # values of algo.baseline that compare an episode with its problem's others
BUILTIN_REPLY = 40  # largest number of tokens in a reply of the built-in model
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
DIALOGUE_TURNS = {"single": 1, "self_refine": 3}  # of dialogues without a key ``turns``


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


def _algo(config: Config, name: str, default: Any = None) -> Any:
    """Return a class attribute of the algorithm."""
    return class_attribute(config["algo"]["_target_"], name, default=default)


def _turns(config: Config) -> int:
    """Return the number of turns of the dialogue."""
    dialogue = config["dialogue"]
    return int(dialogue.get("turns", DIALOGUE_TURNS.get(dialogue["name"], 1)))


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
    path, turns, max_tokens = c["policy"]["path"], _turns(c), c["algo"]["max_tokens"]
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
    if c["eval"]["shared_first_attempts"] and _turns(c) < 2:
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
    name, dialogue, turns = c["algo"]["name"], c["dialogue"]["name"], _turns(c)
    if _algo(c, "replaces_second_turn") and (turns != 2 or dialogue == "self_refine"):
        raise UserError(
            f"dialogue={dialogue}: algo={name} has a first attempt and the reply it chose, which is {turns} turns "
            f"there; allowed: dialogue=self_correct, of 2"
        )
    required = _algo(c, "required_dialogue")
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


# jobs that train ------------------------------------------------------------------------------------------------------


def _check_fixed_values(c: Config) -> None:
    """Values that an algorithm has by its definition."""
    algo = c["algo"]
    nouns = {"turns": "turn", "group_size": "sample"}
    for key, wanted in _algo(c, "fixed", {}).items():
        if algo[key] != wanted:
            raise UserError(f"algo.{key}={algo[key]}: algo={algo['name']} has one {nouns[key]}; allowed: {wanted}")
    if by := _algo(c, "turns_by"):
        key, turns = by
        if algo["turns"] != turns[algo[key]]:
            raise UserError(f"algo.turns={algo['turns']}: with algo.{key}={algo[key]}; allowed: {turns[algo[key]]}")


def _compares_group(c: Config) -> bool:
    """Return whether an episode is compared with the other episodes of its problem."""
    return bool(_algo(c, "compares_group")) or c["algo"].get("baseline") in GROUP_BASELINES


def _check_group_size(c: Config) -> None:
    algo = c["algo"]
    if algo["group_size"] < 2 and _compares_group(c):
        by_nature = _algo(c, "compares_group")
        reason = f"algo={algo['name']}" if by_nature else f"algo.baseline={algo['baseline']}"
        raise UserError(
            f"algo.group_size={algo['group_size']}: {reason} compares a problem's episodes with each other; "
            "allowed: >= 2"
        )


def _check_base_attempt(c: Config) -> None:
    algo, prefill = c["algo"], c["prefill"]
    if prefill["name"] != "base_attempt":
        return
    if algo["turns"] < 2:
        raise UserError(
            f"prefill=base_attempt: with algo.turns={algo['turns']} the given first attempt leaves nothing to train; "
            f"allowed: prefill=none, or algo.turns >= 2"
        )
    first = 1 if _algo(c, "one_first_attempt") else algo["group_size"]
    if round((share := prefill["share"]) * first) == 0:
        raise UserError(
            f"prefill.share={share}: of {first} first attempt{'s' * (first > 1)} of a problem that is none; allowed: "
            "prefill=none, or a larger prefill.share"
        )


def _check_pass_at_k_problems(c: Config) -> None:
    evaluation = c["eval"]
    if evaluation["pass_at_k_problems"] > evaluation["problems"] and evaluation["pass_at_k_samples"]:
        raise UserError(
            f"eval.pass_at_k_problems={evaluation['pass_at_k_problems']}: allowed: at most "
            f"eval.problems={evaluation['problems']}"
        )


def _check_entropy(c: Config) -> None:
    algo, entropy = c["algo"], c["entropy"]["name"]
    if not _algo(c, "has_token_loss", default=True) and entropy != "none":
        raise UserError(
            f"entropy={entropy}: algo={algo['name']} has a loss for each pair and none for a token; "
            "allowed: entropy=none"
        )
    if entropy == "kl_cov" and algo["num_minibatches"] * algo["update_epochs"] == 1:
        raise UserError(
            "entropy=kl_cov: with algo.num_minibatches=1 and algo.update_epochs=1 the policy never leaves the one that "
            "sampled; allowed: algo.num_minibatches >= 2"
        )
    if "iterations" in algo and entropy in ("clip_cov", "kl_cov"):
        raise UserError(
            f"entropy={entropy}: algo={algo['name']} gives every token the same advantage, so it has no covariance "
            f"with the log-probability; allowed: none or bonus"
        )


def _check_num_minibatches(c: Config) -> None:
    algo = c["algo"]
    episodes = algo["groups_per_batch"] * algo["group_size"]
    if algo["num_minibatches"] > episodes and "iterations" not in algo:
        raise UserError(
            f"algo.num_minibatches={algo['num_minibatches']}: an iteration has {episodes} episodes; "
            f"allowed: 1 to {episodes}"
        )


def _check_turns(c: Config) -> None:
    algo, turns = c["algo"], _turns(c)
    if algo["turns"] > turns:
        raise UserError(
            f"algo.turns={algo['turns']}: dialogue={c['dialogue']['name']} has {turns}; allowed: 1 to {turns}"
            f"{', or dialogue=self_correct' if turns == 1 else ', or a larger dialogue.turns'}"
        )
    if turns < _algo(c, "min_dialogue_turns", 1):
        raise UserError(f"algo={algo['name']}: its pairs are of two turns; allowed: a dialogue of 2 or more")
    if algo["turns"] < _algo(c, "min_turns", 1):
        raise UserError(
            f"algo.turns={algo['turns']}: algo={algo['name']} trains on corrections; allowed: 2 or more, or "
            "algo=expert_iteration"
        )


def _check_exploration(c: Config) -> None:
    """Exploration strategies that an algorithm would ignore or that would corrupt its data."""
    algo = c["algo"]
    if not _algo(c, "samples_from_policy", default=True):
        for group, default in (("prefill", "none"), ("curriculum", "uniform"), ("temperature", "constant")):
            if c[group]["name"] != default:
                raise UserError(
                    f"{group}={c[group]['name']}: algo={algo['name']} samples nothing; allowed: {group}={default}"
                )
    moves = _algo(c, "moves_replies", default=False)  # True, or the key that decides it
    if (algo[moves] if isinstance(moves, str) else moves) and c["prefill"]["name"] == "partial_solution":
        raise UserError(
            f"prefill=partial_solution: algo={algo['name']} puts replies into another context, where the prefilled "
            "part would be missing; allowed: prefill=none"
        )


def _check_reward(c: Config) -> None:
    """Rewards without effect in this combination."""
    algo, reward = c["algo"], c["reward"]
    if "progress" in reward and algo["turns"] < 2:
        raise UserError(
            f"reward=progress: with algo.turns={algo['turns']} there is no second attempt to progress; allowed: "
            "reward=oracle, or algo.turns >= 2"
        )
    if reward.get("orm", {}).get("use") == "difference" and algo["turns"] == 1 and _compares_group(c):
        raise UserError(
            f"reward.orm.use=difference: algo={algo['name']} compares whole replies to one question, and over a reply "
            "the differences add up to use=sparse minus a constant; allowed: sparse, value, or algo=ppo"
        )
    if "progress" in reward and algo.get("shaping_coef"):
        raise UserError(
            f"reward=progress: algo={algo['name']} has the bonus itself (algo.shaping_coef={algo['shaping_coef']}) and "
            f"would pay it twice; allowed: reward=oracle, or algo.shaping_coef=0"
        )


def _check_stages(c: Config) -> None:
    algo = c["algo"]
    if "stage1_iterations" not in algo:
        return
    parts = max(algo["turns"] - 1, 1)
    stage1, total = algo["stage1_iterations"], algo["num_iterations"]
    if stage1 * parts > total:
        raise UserError(
            f"algo.stage1_iterations={stage1}: Stage I has {parts} part{'s' * (parts > 1)} of that length, "
            f"and the run algo.num_iterations={total}; allowed: 0 to {total // parts}"
        )
    if algo["baseline"] == "context" and algo["gamma"] > 0:
        raise UserError(
            f"algo.baseline=context: with algo.gamma={algo['gamma']} no reward is known when a turn begins; "
            f"allowed: none, batch, problem, or algo.gamma=0"
        )
    if algo["adaptive_beta2"] and (not stage1 or not algo["beta2"]):
        raise UserError(
            f"algo.adaptive_beta2=true: beta2 has an effect in Stage I only, starting from algo.beta2; allowed: false, "
            f"or algo.stage1_iterations >= 1 (now {stage1}) with algo.beta2 > 0 (now {algo['beta2']})"
        )


def _check_reference(c: Config) -> None:
    given, shared = c["prefill"]["name"] == "base_attempt", c["eval"]["shared_first_attempts"]
    asked = "prefill=base_attempt" if given else "eval.shared_first_attempts=true" if shared else ""
    if asked and c["algo"].get("reference") == "previous":
        raise UserError(
            f"{asked}: with algo.reference=previous the base model is not kept, whose first attempts it needs; "
            f"allowed: algo.reference=base"
        )


TRAINING_CHECKS: tuple[Callable[[Config], None], ...] = (
    _check_fixed_values,
    _check_group_size,
    _check_base_attempt,
    _check_pass_at_k_problems,
    _check_entropy,
    _check_num_minibatches,
    _check_turns,
    _check_exploration,
    _check_reward,
    _check_stages,
    _check_reference,
)
