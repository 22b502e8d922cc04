"""The rules of a configuration that concern several values: each would otherwise fail late, or quietly do nothing.

What one value may be, its constructor's annotation says (``schema``). What values may not be together stands here, over
plain values and before anything heavy is imported; whoever breaks a rule reads one line that names the key, the value
and what is allowed.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amend.errors import UserError
from amend.schema import PACKAGE, shown

FIXED = {  # what an algorithm is by its nature
    "sft": {"samples": 1, "turns": 1},
    "pair_sft": {"turns": 1},
    "rcrl": {"turns": 1},
    "single_turn": {"turns": 1},
}
GROUP_BASELINES = ("problem", "context")  # values of algo.baseline that hold an episode against its problem's others
GROUPS = ("rloo", "grpo", "multi_turn", "single_turn", "dpo", "pair_sft")  # learners that do, by their nature
BUILTIN_REPLY = 40  # tokens that the built-in model's replies have at the most
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def together(c: Mapping[str, Any]) -> None:
    """UserError for the first rule that is broken; nothing where all hold."""
    algo, job = c["algo"], c["job"]
    for need in {"grade": ("responses", "verdicts")}.get(job, ()):
        if not c[need]:
            raise UserError(f"{need}=null: job={job} needs it; allowed: a path")
    if job == "report":
        _report(c)
    if c["logger"]["name"] == "trackio" and not installed("trackio"):
        raise UserError(
            'logger=trackio: trackio is not installed; allowed: pip install "amend[trackio]", or logger=csv'
        )
    for name in ("checkpoint", "responses", "run"):
        if c[name] and not Path(c[name]).exists():
            raise UserError(f"{name}={c[name]}: there is nothing at that path; allowed: a path that exists")
    _machine(c["trainer"], job)
    _sampler(c["rollout"]["name"], c["trainer"])
    if not c["reward"]:
        raise UserError("reward={}: no part is given; allowed: at least one, such as reward=oracle")
    path = c["policy"]["path"]
    if not Path(path).expanduser().is_dir() and not HUB_ID.fullmatch(path):
        raise UserError(f"policy.path={path}: no such folder; allowed: builtin, a folder with a model, or a hub id")
    if c["eval"]["problems"] > c["task"].get("test", c["eval"]["problems"]):
        raise UserError(f"eval.problems={c['eval']['problems']}: allowed: at most task.test={c['task']['test']}")
    if job == "train_orm" and c["tuning"]["name"] != "full":
        raise UserError(f"tuning={c['tuning']['name']}: job=train_orm trains a whole model; allowed: tuning=full")
    if job not in ("train", "evaluate", "doctor"):
        return
    turns = c["dialogue"].get("turns", {"single": 1, "self_refine": 3}.get(c["dialogue"]["name"], 1))
    _fits(algo["max_tokens"], turns, path)
    _long_enough(c)
    if c["task"].get("first_attempts") and c["dialogue"]["name"] != "single":
        raise UserError(
            f"dialogue={c['dialogue']['name']}: task.first_attempts are part of the question already; "
            "allowed: dialogue=single"
        )
    _around(c, turns)
    _asks(algo["name"], c["dialogue"]["name"], turns)
    if "rounds" not in algo:
        return  # a way of asking: nothing below concerns it, and it may stand beside learners that pull any lever
    for knob, wanted in FIXED.get(algo["name"], {}).items():
        if algo[knob] != wanted:
            raise UserError(f"algo.{knob}={algo[knob]}: algo={algo['name']} has one {knob[:-1]}; allowed: {wanted}")
    if algo["name"] == "dpo" and algo["turns"] != (wanted := 1 + (algo["pairs"] == "corrections")):
        raise UserError(f"algo.turns={algo['turns']}: with algo.pairs={algo['pairs']}; allowed: {wanted}")
    if algo["samples"] < 2 and _compares(algo):
        reason = f"algo={algo['name']}" if algo["name"] in GROUPS else f"algo.baseline={algo['baseline']}"
        raise UserError(
            f"algo.samples={algo['samples']}: {reason} compares a problem's episodes with each other; allowed: >= 2"
        )
    if c["start"]["name"] == "offline" and algo["turns"] < 2:
        raise UserError(
            f"start=offline: with algo.turns={algo['turns']} the handed-in first attempt leaves nothing to train; "
            f"allowed: start=fresh, or algo.turns >= 2"
        )
    if c["start"]["name"] == "offline":
        first = 1 if algo["name"] == "dpo" else algo["samples"]  # which draws one, and several corrections of it
        if round((share := c["start"]["share"]) * first) == 0:
            raise UserError(
                f"start.share={share}: of {first} first attempt{'s' * (first > 1)} a problem that is none; allowed: "
                "start=fresh, or a larger start.share"
            )
    if c["eval"]["wide_problems"] > c["eval"]["problems"] and c["eval"]["wide"]:
        raise UserError(
            f"eval.wide_problems={c['eval']['wide_problems']}: allowed: at most eval.problems={c['eval']['problems']}"
        )
    if algo["name"] == "dpo" and c["entropy"]["name"] != "nothing":
        raise UserError(
            f"entropy={c['entropy']['name']}: algo=dpo has a loss a pair and none a token; allowed: entropy=nothing"
        )
    if c["entropy"]["name"] == "kl_cov" and algo["updates"] * algo["epochs"] == 1:
        raise UserError(
            "entropy=kl_cov: with algo.updates=1 and algo.epochs=1 the policy never leaves the one that sampled; "
            "allowed: algo.updates >= 2"
        )
    episodes = algo["problems"] * algo["samples"]
    if algo["updates"] > episodes and "iterations" not in algo:
        raise UserError(f"algo.updates={algo['updates']}: a round has {episodes} episodes; allowed: 1 to {episodes}")
    if algo["turns"] > turns:
        raise UserError(
            f"algo.turns={algo['turns']}: dialogue={c['dialogue']['name']} has {turns}; allowed: 1 to {turns}"
            f"{', or dialogue=self_correct' if turns == 1 else ', or a larger dialogue.turns'}"
        )
    _imitates(c, turns)
    _pays(c)
    if "stage1_rounds" in algo:
        _stages(algo)
        _scores(c)


def installed(library: str) -> bool:
    """Whether an optional library is there, without importing it."""
    return importlib.util.find_spec(library) is not None


def _long_enough(c: Mapping[str, Any]) -> None:
    """A model from the hub on a real task has more to say than the built-in one, whose reply length is the default."""
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


def _report(c: Mapping[str, Any]) -> None:
    """One run's page again, or the report of many."""
    if bool(c["run"]) == bool(c["runs"]):
        given = "both are given" if c["run"] else "neither is given"
        raise UserError(
            f"run={shown(c['run'])}: job=report: run and runs: {given}; allowed: run=FOLDER, or runs=... out=FOLDER"
        )
    if bool(c["runs"]) != bool(c["out"]):
        raise UserError(
            f"out={shown(c['out'])}: where the report of runs goes; allowed: runs=... out=FOLDER, or neither"
        )
    if c["to"] == "wandb" and not c["runs"]:
        raise UserError("to=wandb: a W&B Report is made of runs; allowed: runs=... out=FOLDER, or to=html")
    if c["publish"] and c["to"] != "wandb":
        raise UserError(f"publish={c['publish']}: only a W&B Report is published; allowed: to=wandb, or publish=null")
    if c["publish"] and not re.fullmatch(r"[^/]+/[^/]+", c["publish"]):
        raise UserError(f"publish={c['publish']}: not a place at W&B; allowed: entity/project")
    if c["to"] == "wandb" and not installed("wandb_workspaces"):
        raise UserError('to=wandb: wandb-workspaces is not installed; allowed: pip install "amend[report]", or to=html')


def _machine(trainer: Mapping[str, Any], job: str) -> None:
    for knob in ("devices", "nodes"):
        if trainer["strategy"] == "single" and trainer[knob] != 1:
            raise UserError(
                f"trainer.{knob}={trainer[knob]}: trainer.strategy=single is one process; allowed: 1, or trainer=ddp"
            )
    if trainer["strategy"] != "single" and job in ("grade", "pretrain", "train_orm"):
        raise UserError(f"trainer.strategy={trainer['strategy']}: job={job} is one process; allowed: single")


def _sampler(engine: str, trainer: Mapping[str, Any]) -> None:
    """Where the engine can draw: transformers' thread reads whole weights, and one process sends vLLM its own."""
    strategy, allowed_with = trainer["strategy"], {"hf": ("single", "ddp"), "vllm": ("single",)}
    if strategy not in allowed_with.get(engine, (strategy,)):
        raise UserError(
            f"rollout={engine}: not with trainer.strategy={strategy}; allowed: rollout=local, or trainer.strategy="
            f"{' or '.join(allowed_with[engine])}"
        )
    if engine == "vllm" and trainer["accelerator"] == "cpu":
        raise UserError("rollout=vllm: weights reach a server from a GPU; allowed: trainer.accelerator=gpu or auto")


def _around(c: Mapping[str, Any], turns: int) -> None:
    """What stands beside training: what it begins with, who learns from it, and what is measured."""
    if c["job"] == "evaluate":
        for group, nothing in (("init", "pretrained"), ("student", "nothing")):
            if c[group]["name"] != nothing:
                raise UserError(f"{group}={c[group]['name']}: job=evaluate trains nothing; allowed: {group}={nothing}")
    if c["eval"]["fixed"] and turns < 2:
        raise UserError("eval.fixed=true: there is no second attempt to measure; allowed: false, or a longer dialogue")
    for group, nothing in (("init", "pretrained"), ("student", "nothing")):
        if c[group]["name"] != nothing and c["trainer"]["strategy"] != "single":
            raise UserError(
                f"{group}={c[group]['name']}: trainer.strategy={c['trainer']['strategy']}: is taught in one process; "
                f"allowed: {group}={nothing}, or trainer.strategy=single"
            )
    if c["orm"]["make"] and c["trainer"]["strategy"] != "single":
        raise UserError(
            f"orm.make=true: trainer.strategy={c['trainer']['strategy']}: an outcome model is made in one process; "
            f"allowed: false, after job=train_orm"
        )
    if c["task"].get("calculator") and c["trainer"]["strategy"] == "fsdp":
        raise UserError(
            "task.calculator=true: trainer.strategy=fsdp: processes whose replies pause in different places do not "
            "keep step; allowed: false, or trainer.strategy=ddp"
        )


def _stages(algo: Mapping[str, Any]) -> None:
    parts = max(algo["turns"] - 1, 1)
    if algo["stage1_rounds"] * parts > algo["rounds"]:
        raise UserError(
            f"algo.stage1_rounds={algo['stage1_rounds']}: Stage I has {parts} part{'s' * (parts > 1)} of that length, "
            f"and the run algo.rounds={algo['rounds']}; allowed: 0 to {algo['rounds'] // parts}"
        )
    if algo["baseline"] == "context" and algo["gamma"] > 0:
        raise UserError(
            f"algo.baseline=context: with algo.gamma={algo['gamma']} nothing is settled when a turn begins; "
            f"allowed: none, batch, problem, or algo.gamma=0"
        )
    if algo["adaptive_beta2"] and (not algo["stage1_rounds"] or not algo["beta2"]):
        raise UserError(
            f"algo.adaptive_beta2=true: beta2 is at work in Stage I only, starting from algo.beta2; allowed: false, or "
            f"algo.stage1_rounds >= 1 (now {algo['stage1_rounds']}) with algo.beta2 > 0 (now {algo['beta2']})"
        )


def _asks(name: str, dialogue: str, turns: int) -> None:
    """Ways of asking that are of one dialogue, and anything else under another."""
    if name in ("best_of_n", "self_consistency") and (turns != 2 or dialogue == "self_refine"):
        raise UserError(
            f"dialogue={dialogue}: algo={name} has a first attempt and the reply it chose, which is {turns} turns "
            f"there; allowed: dialogue=self_correct, of 2"
        )
    if name == "self_refine" and dialogue != "self_refine":
        raise UserError(f"dialogue={dialogue}: algo=self_refine is its dialogue; allowed: dialogue=self_refine")


def _imitates(c: Mapping[str, Any], turns: int) -> None:
    """What learners that imitate would not notice, or could not tell apart."""
    algo, name = c["algo"], c["algo"]["name"]
    if name == "pair_sft" and turns < 2:
        raise UserError("algo=pair_sft: its pairs are of two turns; allowed: a dialogue of 2 or more")
    if name == "star" and algo["turns"] < 2:
        raise UserError(
            f"algo.turns={algo['turns']}: algo=star learns corrections; allowed: 2 or more, or algo=expert_iteration"
        )
    if name == "sft":
        for group, plain in (("start", "fresh"), ("curriculum", "uniform"), ("temperature", "constant")):
            if c[group]["name"] != plain:
                raise UserError(f"{group}={c[group]['name']}: algo=sft samples nothing; allowed: {group}={plain}")
    retold = name in ("pair_sft", "rcrl") or (name == "star" and algo["rationalise"])
    if retold and c["start"]["name"] == "backtrack":
        raise UserError(
            f"start=backtrack: algo={name} tells replies again in another context, and what was given of them would "
            f"be missing; allowed: start=fresh"
        )
    if "iterations" in algo and c["entropy"]["name"] in ("clip_cov", "kl_cov"):
        raise UserError(
            f"entropy={c['entropy']['name']}: algo={name} gives every token the same credit, so none covaries with it; "
            f"allowed: nothing or bonus"
        )


def _compares(algo: Mapping[str, Any]) -> bool:
    """Whether an episode is held against its problem's others."""
    return algo["name"] in GROUPS or algo.get("baseline") in GROUP_BASELINES


def _pays(c: Mapping[str, Any]) -> None:
    """Parts of the reward that would come to nothing, or to another part."""
    algo, reward = c["algo"], c["reward"]
    if "progress" in reward and algo["turns"] < 2:
        raise UserError(
            f"reward=progress: with algo.turns={algo['turns']} there is no second attempt to progress; allowed: "
            "reward=oracle, or algo.turns >= 2"
        )
    if reward.get("orm", {}).get("use") == "difference" and algo["turns"] == 1 and _compares(algo):
        raise UserError(
            f"reward.orm.use=difference: algo={algo['name']} compares whole replies to one question, and over each "
            "the differences add up to what use=sparse pays, less what all share; allowed: sparse, value, or algo=ppo"
        )


def _scores(c: Mapping[str, Any]) -> None:
    """SCoRe's own bonus and reference, and what else would have them."""
    if "progress" in c["reward"] and c["algo"]["alpha"]:
        raise UserError(
            f"reward=progress: algo=score has the bonus itself (algo.alpha={c['algo']['alpha']}) and would pay it "
            f"twice; allowed: reward=oracle, or algo.alpha=0"
        )
    asked = "start=offline" if c["start"]["name"] == "offline" else "eval.fixed=true" if c["eval"]["fixed"] else ""
    if asked and c["algo"]["reference"] == "previous":
        raise UserError(
            f"{asked}: with algo.reference=previous the base model is not kept, whose first attempts it asks for; "
            f"allowed: algo.reference=base"
        )


def _fits(max_tokens: int, turns: int, path: str) -> None:
    """Replies alone must leave room for a question; once the tokenizer is loaded, ``build.fits`` counts exactly."""
    folder = PACKAGE / "policy" / "tiny" if path == "builtin" else Path(path).expanduser()
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # a hub id, or a folder that the loader will have its own words for
    context = config.get("text_config", config).get("max_position_embeddings")
    if isinstance(context, int) and turns * max_tokens >= context:
        raise UserError(
            f"algo.max_tokens={max_tokens}: {turns} replies of that length do not fit the model, whose context is "
            f"{context} tokens (policy.path={path}); allowed: less than {context // turns}"
        )
