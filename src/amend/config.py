"""From a command line to a checked configuration, and on to the job: the only door into amend.

Hydra composes conf/; ``check`` then compares every value with what the constructors say of themselves (``schema``), and
``rules`` those that concern several values at once. All of it comes before torch is imported, so a mistake
costs a third of a second. Whatever only the user can mend ends with one line that names the key, the value and what is
allowed, and exit status 2; HYDRA_FULL_ERROR=1 shows where it came from.
"""

from __future__ import annotations

import importlib
import importlib.util
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

from amend import waiting
from amend.errors import UserError
from amend.rules import together
from amend.schema import GROUPS, PACKAGE, allowed, choices, complaint, component, fields, keys, nearest, shown

__all__ = ["check", "command", "component", "conf", "main"]

REFUSED, INTERRUPTED = 2, 130  # exit statuses: as argparse's, and as shells count Ctrl-C


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
            waiting.choose()
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
