"""What may be configured: read from the constructors themselves, without importing one of them.

A choice is found by convention: ``algo=score`` is conf/algo/score.yaml, whose ``name: score`` is the class in
amend/algo/score.py that spells the name (SCoRe). Its keyword-only parameters are the YAML's keys, and their annotations
are what the values may be. Sources are parsed, not imported: importing an algorithm costs seconds of torch, and a
typing error in a command should cost none. Groups that no class stands behind are described here.
"""

from __future__ import annotations

import ast
import difflib
import json
import typing
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypedDict

from omegaconf import DictConfig, ListConfig, OmegaConf

from amend import bounds
from amend.bounds import Count, Fraction, Level, Natural, NonNegative, Positive, Range
from amend.errors import UserError

PACKAGE = Path(__file__).parent
HOMES = {  # group -> the file that a choice's class lives in
    "task": "task/{name}.py",
    "dialogue": "dialogue.py",
    "reward": "reward/{name}.py",
    "policy": "policy/model.py",
    "init": "init.py",
    "student": "student.py",
    "tuning": "policy/tuning.py",
    "rollout": "rollout/{name}.py",
    "logger": "logger.py",
    "temperature": "explore/temperature.py",
    "curriculum": "explore/curriculum.py",
    "start": "explore/start.py",
    "entropy": "explore/entropy.py",
    "algo": "algo/{name}.py",
}


class Budget(TypedDict):
    """What a run may spend; null: no bound."""

    sampled_tokens: Count | None
    episodes: Count | None


class Top(TypedDict):
    """Keys of conf/config.yaml itself."""

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
    """Keys of conf/trainer: the machine, and when to save, warn and stop."""

    strategy: Literal["single", "ddp", "fsdp"]
    accelerator: Literal["auto", "cpu", "gpu"]
    devices: Count | Literal["auto"]
    nodes: Count
    threads: Natural
    checkpoint_every: Count
    select: Literal["best", "last"]
    max_truncated: Fraction
    max_failures: Fraction


class Eval(TypedDict):
    """Keys of conf/eval."""

    problems: Count
    samples: Natural
    temperature: Positive
    wide: Natural
    wide_problems: Count
    ranker: str | None
    fixed: bool


class Alarm(TypedDict):
    """Keys of conf/alarm: when a run says that something is going wrong; ``amend.metric.alarm`` says what each is."""

    window: Count
    zero_variance: Fraction
    entropy: Fraction
    kl: Positive
    no_edit: Fraction
    lost_reach: Fraction


class Scale(TypedDict):
    """Keys of conf/scale: the values that other groups refer to."""

    source: str
    rounds: Count
    stage1_rounds: Natural
    problems: Count
    samples: Count
    solutions: Count
    fit_steps: Count
    max_tokens: Count
    lr: NonNegative
    decay: Literal["none", "linear"]
    beta2: NonNegative
    eval_problems: Count
    eval_samples: Natural
    eval_wide: Natural
    eval_wide_problems: Count


class Shape(TypedDict):
    """The built-in model's size, in transformers' own words."""

    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count


class Habits(TypedDict):
    """Those of the writers of pre-training documents; ``amend.pretrain`` says what each is."""

    first_right: Fraction
    hard: Level
    sound: list[Fraction]
    doubtful: list[Fraction]
    failed: list[Fraction]
    luck: Fraction


class Settle(TypedDict):
    """The end of pre-training: other writers, a smaller learning rate."""

    steps: Count
    lr: Positive
    doubtful: list[Fraction]


class Pretrain(TypedDict):
    """Keys of conf/pretrain: how the built-in model is made."""

    out: str
    context: Count
    steps: Count
    batch: Count
    lr: Positive
    shape: Shape
    habits: Habits
    settle: Settle


class Orm(TypedDict):
    """Keys of conf/orm: how an outcome reward model is made."""

    path: str
    kind: Literal["outcome", "step"]
    problems: Count
    samples: Count
    temperature: Positive
    continuations: Count
    held_out: Fraction
    epochs: Count
    minibatch: Count
    lr: Positive
    make: bool


class Compare(TypedDict):
    """Keys of conf/compare: what job=compare runs."""

    algorithms: list[str]
    seeds: list[Natural]
    sampled_tokens: Count
    overrides: list[str]


SETTINGS: dict[str, Any] = {
    "": Top,
    "trainer": Trainer,
    "eval": Eval,
    "alarm": Alarm,
    "scale": Scale,
    "pretrain": Pretrain,
    "orm": Orm,
    "compare": Compare,
}
GROUPS = (*HOMES, *(group for group in SETTINGS if group))


def component(group: str, name: str) -> tuple[str, str]:
    """Module and name of the class behind a choice. UserError where there is none."""
    path = PACKAGE / HOMES[group].format(name=name)
    if group == "policy":
        return "amend.policy.model", "Policy"
    if name.isidentifier() and path.is_file():
        for found in _classes(path):
            if _spelt(found) == _spelt(name):
                return ".".join(("amend", *path.relative_to(PACKAGE).with_suffix("").parts)), found
    raise UserError(f"{group}.name={name}: no class of that name in {path.relative_to(PACKAGE.parent)}")


@cache
def fields(group: str, name: str) -> dict[str, Any]:
    """Keys of a choice (or of a group without classes) and the annotations of their values."""
    if group in SETTINGS:
        return keys(SETTINGS[group])
    module, cls = component(group, name)
    return _parameters(module, cls, "load" if group == "policy" else "__init__")


def keys(kind: Any) -> dict[str, Any]:
    """Keys of a mapping's description and the annotations of their values."""
    return typing.get_type_hints(kind, include_extras=True)


def _spelt(name: str) -> str:
    return name.replace("_", "").lower()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _tree(path).body if isinstance(node, ast.ClassDef)}


def _parameters(module: str, cls: str, method: str) -> dict[str, Any]:
    """Keyword-only parameters of a method and, where it takes ``**`` more or is not there, of the bases' as well."""
    path = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
    found = _classes(path).get(cls)
    if found is None:
        return {}
    own = next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == method), None)
    inherited: dict[str, Any] = {}
    if own is None or own.args.kwarg is not None:
        homes = {
            alias.asname or alias.name: node.module
            for node in _tree(path).body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for base in found.bases:
            if isinstance(base, ast.Name) and (home := homes.get(base.id, module)) and home.startswith("amend"):
                inherited |= _parameters(home, base.id, method)
    mine = {arg.arg: _annotation(arg, path) for arg in own.args.kwonlyargs} if own else {}
    return inherited | mine


def _annotation(arg: ast.arg, path: Path) -> Any:
    if arg.annotation is None:
        raise TypeError(f"{path}: {arg.arg} has no annotation, so no value of it can be checked")
    known = {**vars(typing), **{name: value for name, value in vars(bounds).items() if not name.startswith("_")}}
    return eval(compile(ast.Expression(arg.annotation), str(path), "eval"), known)  # our own source, not a user's


def shown(value: Any) -> str:
    """A value as it would be typed, cut where it is long."""
    if isinstance(value, DictConfig | ListConfig):
        value = OmegaConf.to_container(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def complaint(kind: Any, value: Any) -> str | None:
    """What is wrong with a value, or None where nothing is."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        wrong = complaint(parts[0], value)
        outside = not wrong and any(isinstance(rule, Range) and not rule.holds(value) for rule in parts[1:])
        return "out of range" if outside else wrong
    if origin in (typing.Union, UnionType):
        return None if any(complaint(part, value) is None for part in parts) else complaint(parts[0], value)
    if origin is Literal:
        return None if any(value == part and type(value) is type(part) for part in parts) else "not one of them"
    if origin is list:
        if not isinstance(value, list):
            return "not a list"
        return next((wrong for item in value if (wrong := complaint(parts[0], item))), None)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float:
        return None if number and abs(value) < float("inf") else "not a number"
    if kind is int:
        return None if number and isinstance(value, int) else "not a whole number"
    if typing.is_typeddict(kind):
        return None if isinstance(value, dict) else "not a mapping"
    if kind in (bool, str, NoneType):
        return None if isinstance(value, kind) else f"not {allowed(kind)}"
    raise TypeError(f"no rule for values of {kind}")


def allowed(kind: Any) -> str:
    """What values of a kind may be, in words."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return " ".join((allowed(parts[0]), *(str(rule) for rule in parts[1:])))
    if origin in (typing.Union, UnionType):
        return " or ".join(allowed(part) for part in parts)
    if origin is Literal:
        return " or ".join(", ".join(map(str, parts)).rsplit(", ", 1))
    if origin is list:
        return f"a list, each {allowed(parts[0])}"
    if typing.is_typeddict(kind):
        return f"a mapping of {', '.join(keys(kind))}"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "text", NoneType: "null"}[kind]


def choices(kind: Any) -> list[str]:
    """The values of a Literal; none for other kinds."""
    return list(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else []


def nearest(said: str, known: Iterable[str], prefix: str = "") -> str:
    """What leads over to ``allowed:``, with ``did you mean x?`` where something known is close to what was said."""
    close = difflib.get_close_matches(said, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}? " if close else "; "
