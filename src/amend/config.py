"""From a command line to a checked configuration, and on to the job: the only door into amend.

Hydra composes conf/; ``check`` then compares every value with what the constructors say of themselves (``schema``), and
``together`` holds the rules that concern several values at once. All of it comes before torch is imported, so a mistake
costs a third of a second. Whatever only the user can mend ends with one line that names the key, the value and what is
allowed, and exit status 2; HYDRA_FULL_ERROR=1 shows where it came from.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from amend.errors import UserError
from amend.schema import GROUPS, PACKAGE, allowed, choices, complaint, component, fields, keys, nearest

__all__ = ["check", "command", "component", "conf", "main"]

REFUSED, INTERRUPTED = 2, 130  # exit statuses: as argparse's, and as shells count Ctrl-C
FIXED = {  # what an algorithm is by its nature
    "sft": {"samples": 1, "turns": 1},
    "pair_sft": {"turns": 1},
    "rcrl": {"turns": 1},
    "single_turn": {"turns": 1},
}
GROUP_BASELINES = ("problem", "context")  # values of algo.baseline that hold an episode against its problem's others
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def conf() -> Path:
    """The configuration: conf/ of the checkout this package runs from, or the copy in the installed package."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if (checkout / "config.yaml").is_file() else PACKAGE / "conf"


def main() -> int:
    """Compose from the command line, check, and run the job (or, with ``-m``, the jobs); the worst exit status."""
    wants_trace = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions reach us whole; Hydra's own report would be a traceback
    statuses: list[int] = []

    def job(cfg: DictConfig) -> None:
        statuses.append(REFUSED)
        try:
            check(cfg)
            statuses[-1] = importlib.import_module("amend.train").main(cfg)
        except UserError as error:
            if wants_trace or "basic" not in HydraConfig.get().launcher._target_:
                raise  # in another process: it must reach this one
            say(error)

    sys.argv[1:] = spelt_out(sys.argv[1:])
    try:
        hydra.main(config_path=str(conf()), config_name="config", version_base="1.3")(job)()
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except Exception as error:
        if wants_trace or (statuses and not isinstance(error, UserError)):
            raise  # a fault of ours, which one line would hide
        say(error if isinstance(error, UserError) else translated(error))
        return REFUSED
    return max(statuses, default=0)


def spelt_out(words: list[str]) -> list[str]:
    """The command line, with ``policy=FOLDER`` and ``policy=owner/model`` written out: policy=hf and its path."""
    long: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        known = "/" not in value and ((conf() / "policy" / f"{value}.yaml").is_file() or not Path(value).is_dir())
        foreign = key == "policy" and value and "," not in value and not known
        long += ["policy=hf", f"policy.path={value}"] if foreign else [word]
    return long


def say(what: object) -> None:
    """One line to the user."""
    print(f"amend: {' '.join(str(what).split())}", file=sys.stderr)


def command(cfg: DictConfig) -> str:
    """The command that started this run, without ``resume``: what to type to have it again."""
    program = ["amend"] if Path(sys.argv[0]).name == "amend" else ["python", "run.py"]
    return shlex.join([*program, *(word for word in typed() if not word.lstrip("+").startswith("resume="))])


def typed() -> list[str]:
    """This run's own words on the command line; with ``-m``, those of this one of several runs."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


# one value at a time ------------------------------------------------------------------------------------------------


def check(cfg: DictConfig) -> None:
    """UserError for the first value that cannot be; nothing where all is well."""
    for key in map(str, cfg):
        if key not in (*fields("", ""), *GROUPS):
            raise unknown(key, [*fields("", ""), *GROUPS], cfg[key], "conf/config.yaml")
    _check_values(cfg, "", fields("", ""), skip=GROUPS, where="conf/config.yaml")
    for group in GROUPS:
        node = cfg.get(group)
        if not isinstance(node, DictConfig):
            raise UserError(f"{group}={shown(node)}: {one_of(group)}")
        if group == "reward":
            for part in map(str, node):
                values = node[part]
                if not isinstance(values, DictConfig):
                    raise UserError(f"reward.{part}={shown(values)}: allowed: a mapping such as {{weight: 1.0}}")
                kinds = fields("reward", str(values.get("name", part)))  # a part is the file of its name, or states it
                _check_values(values, f"reward.{part}.", kinds, skip=("name",), where="conf/reward")
            continue
        name = str(node.get("name", ""))
        made_of_tasks = (group, name) == ("task", "mixture")
        beside = ("name", "tasks") if made_of_tasks else ("name",)
        _check_values(node, f"{group}.", fields(group, name), skip=beside, where=_file(group, name))
        for part, values in node.get("tasks", {}).items() if made_of_tasks else ():
            if not isinstance(values, DictConfig) or "name" not in values or values["name"] == "mixture":
                raise UserError(f"task.tasks.{part}={shown(values)}: allowed: a task, as +task@task.tasks.{part}=gsm8k")
            own = str(values["name"])
            _check_values(values, f"task.tasks.{part}.", fields("task", own), skip=("name",), where=_file("task", own))
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    together({str(key): value for key, value in plain.items()})


def _check_values(
    node: DictConfig, prefix: str, kinds: Mapping[str, Any], *, where: str, skip: tuple[str, ...] = ()
) -> None:
    for key in map(str, node):
        if key in skip:
            continue
        if key not in kinds:
            raise unknown(f"{prefix}{key}", list(kinds), OmegaConf.to_container(node).get(key), where)  # type: ignore[union-attr]
        value = _value(node, prefix, key, kinds[key])
        if wrong := complaint(kinds[key], value):
            near = nearest(str(value), choices(kinds[key]))
            raise UserError(f"{prefix}{key}={shown(value)}: {wrong}{near}allowed: {allowed(kinds[key])}")
        if isinstance(inner := node.get(key), DictConfig):
            _check_values(inner, f"{prefix}{key}.", keys(kinds[key]), where=where)
    for key in kinds:
        if key not in node:
            raise UserError(f"{prefix}{key}: missing, and {where} must state it; allowed: {allowed(kinds[key])}")


def _value(node: DictConfig, prefix: str, key: str, kind: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        hint = " (a folder or a hub id)" if key in ("path", "source") else ""
        raise UserError(f"{prefix}{key}=???: not set; add {prefix}{key}=...; allowed: {allowed(kind)}{hint}")
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        raw = OmegaConf.to_container(node, resolve=False)
        reference = raw.get(key) if isinstance(raw, dict) else ""
        raise UserError(
            f"{prefix}{key}={reference}: {str(error).splitlines()[0]}; set {prefix}{key} itself; "
            f"allowed: {allowed(kind)}"
        ) from error
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def _file(group: str, name: str) -> str:
    path = f"conf/{group}/{name}.yaml"
    return path if (conf().parent / path).is_file() else f"conf/{group}"


def one_of(group: str) -> str:
    """``allowed: a, b``: the files of a group."""
    return f"allowed: {', '.join(sorted(path.stem for path in (conf() / group).glob('*.yaml')))}"


def unknown(key: str, known: list[str], value: Any, where: str) -> UserError:
    """The line for a key that is not there."""
    prefix, _, last = key.rpartition(".")
    prefix = f"{prefix}." if prefix else ""
    return UserError(
        f"{key}={shown(value)}: no such key in {where}{nearest(last, known, prefix)}"
        f"allowed: {', '.join(known) or 'none, it has no keys'}"
    )


def shown(value: Any) -> str:
    """A value as it would be typed, cut where it is long."""
    if isinstance(value, DictConfig | ListConfig):
        value = OmegaConf.to_container(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


# several values at once ---------------------------------------------------------------------------------------------


def together(c: Mapping[str, Any]) -> None:
    """The rules that concern several values: each would otherwise fail late, or quietly do nothing."""
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
    _around(c, turns)
    if "rounds" not in algo:
        return  # a way of asking: nothing below concerns it
    for knob, wanted in FIXED.get(algo["name"], {}).items():
        if algo[knob] != wanted:
            raise UserError(f"algo.{knob}={algo[knob]}: algo={algo['name']} has one {knob[:-1]}; allowed: {wanted}")
    if algo["name"] == "dpo" and algo["turns"] != (wanted := 1 + (algo["pairs"] == "corrections")):
        raise UserError(f"algo.turns={algo['turns']}: with algo.pairs={algo['pairs']}; allowed: {wanted}")
    baseline = algo.get("baseline", "problem" if algo["name"] == "grpo" else "none")
    if algo["samples"] < 2 and baseline in GROUP_BASELINES:
        reason = f"algo.baseline={baseline}" if "baseline" in algo else f"algo={algo['name']}"
        raise UserError(
            f"algo.samples={algo['samples']}: {reason} compares a problem's episodes with each other; allowed: >= 2"
        )
    if c["start"]["name"] == "offline" and algo["turns"] < 2:
        raise UserError(
            f"start=offline: with algo.turns={algo['turns']} the handed-in first attempt leaves nothing to train; "
            f"allowed: start=fresh, or algo.turns >= 2"
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
    if "stage1_rounds" in algo:
        _stages(algo)


def installed(library: str) -> bool:
    """Whether an optional library is there, without importing it."""
    return importlib.util.find_spec(library) is not None


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


# Hydra's own complaints, in one line each ---------------------------------------------------------------------------


def translated(error: Exception) -> str:
    """What Hydra or OmegaConf found wrong with a command line, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        near = nearest(name, error.options)
        return f"{group}={name}: no such file in conf/{group}{near}allowed: {', '.join(error.options)}"
    if isinstance(error, MissingConfigException):
        return str(error).splitlines()[0]
    if isinstance(error, OverrideParseException):
        reason = " ".join(line for line in str(error).splitlines() if "http" not in line)
        return f"{error.override}: not understood ({reason}); allowed: key=value, quoted where it has , [ {{ or ="
    if found := re.match(r"Ambiguous value for argument '(.*?)' 1\.", text):
        return f"{found[1]}: several values; allowed: one, or a run of each with -m, or a list as key=[a,b]"
    if found := re.match(r"Could not override '([^']*)'\. To append", text):
        key, cause = found[1], error.__cause__
        typed = next((word for word in sys.argv[1:] if word.startswith(f"{key}=")), f"{key}=")
        parent = getattr(cause, "parent_node", None)
        known = [str(name) for name in parent if name != "hydra"] if isinstance(parent, DictConfig) else []
        group = key.partition(".")[0] if "." in key else ""
        name = str(parent.get("name", "")) if isinstance(parent, DictConfig) and known else ""
        where = _file(group, name) if group else "conf/config.yaml"
        known = [name for name in known if not group or name != "name"]
        return str(unknown(key, known, typed.partition("=")[2], where))
    if found := re.match(r"Multiple values for (\S+)\.", text):
        return f"+{found[1]}=...: {found[1]} is chosen already; allowed: {found[1]}=... without the plus"
    return f"{text}; allowed: what `python run.py --help` lists"
