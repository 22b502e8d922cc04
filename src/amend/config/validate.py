"""Check a composed configuration: every key, every value, and the values that depend on each other.

The module `schema` gives the allowed keys and types, and `cross_checks` checks combinations of values. The checks run
before the import of torch, so a mistake shows at once. The program prints one line that names the key, the value and
what is allowed, and ends with exit status 2. HYDRA_FULL_ERROR=1 prints the traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from amend.config.compose import config_dir
from amend.config.cross_checks import check_cross_field
from amend.config.hydra_errors import allowed_choices, config_file, unknown_key_error
from amend.config.schema import GROUPS, TARGET_GROUPS, TARGET_KEYS, class_attribute, group_fields, target_fields
from amend.config.value_checks import (
    describe_allowed,
    did_you_mean,
    find_value_error,
    format_value,
    keys,
    literal_values,
)
from amend.errors import UserError


def validate_config(cfg: DictConfig) -> None:
    """Check every key and every value of a configuration, and then the values that depend on each other.

    Raises:
        UserError: If a key or a value is wrong; the message names the first one.
    """
    _complete_rewards(cfg)
    top = group_fields("")
    for key in map(str, cfg):
        if key not in (*top, *GROUPS):
            raise unknown_key_error(key, [*top, *GROUPS], cfg[key], "conf/config.yaml")
    _check_values(cfg, "", top, skip=GROUPS, where="conf/config.yaml")
    for group in GROUPS:
        node = cfg.get(group)
        if not isinstance(node, DictConfig):
            raise UserError(f"{group}={format_value(node)}: {allowed_choices(group)}")
        if group == "reward":
            _check_parts(node, "reward", "a mapping such as {_target_: ..., weight: 1.0}")
        elif group in TARGET_GROUPS:
            _check_choice(node, group)
        else:
            _check_values(node, f"{group}.", group_fields(group), where=f"conf/{group}")
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    check_cross_field({str(key): value for key, value in plain.items()})


def _complete_rewards(cfg: DictConfig) -> None:
    """Add the target of a reward that the command line adds by name only, as in ``+reward.format.weight=0.1``."""
    parts = cfg.get("reward")
    if not isinstance(parts, DictConfig):
        return
    for name in map(str, parts):
        values = parts[name]
        path = config_dir() / "reward" / f"{name}.yaml"
        if isinstance(values, DictConfig) and "_target_" not in values and path.is_file():
            loaded = OmegaConf.load(path)
            defaults = loaded.get(name) if isinstance(loaded, DictConfig) else None
            if isinstance(defaults, DictConfig) and "_target_" in defaults:
                with open_dict(values):
                    values["_target_"] = defaults["_target_"]


def _check_choice(node: DictConfig, group: str) -> None:
    """Check the values of a group whose choice names a class or a function."""
    name = str(node.get("name", ""))
    where = config_file(group, name)
    for key in TARGET_KEYS:
        if not isinstance(node.get(key), str):
            raise UserError(f"{group}.{key}: missing in {where}; allowed: text")
    target = node["_target_"]
    try:
        composite = group == "task" and class_attribute(target, "composite", default=False)
        kinds = target_fields(target)
    except UserError as error:
        raise UserError(f"{group}.{error}") from error
    skip = (*TARGET_KEYS, "tasks") if composite else TARGET_KEYS
    _check_values(node, f"{group}.", kinds, skip=skip, where=where)
    if composite:
        _check_parts(node.get("tasks", {}), "task.tasks", "a task, such as +task@task.tasks.NAME=gsm8k")


def _check_parts(node: DictConfig, prefix: str, allowed: str) -> None:
    """Check the parts of a reward or of a mixture of tasks; each part has its own class."""
    for part in map(str, node):
        values = node[part]
        target = values.get("_target_") if isinstance(values, DictConfig) else None
        if not isinstance(target, str) or class_attribute(target, "composite", default=False):
            raise UserError(f"{prefix}.{part}={format_value(values)}: allowed: {allowed}")
        where = config_file("task", str(values.get("name"))) if prefix == "task.tasks" else "conf/reward"
        _check_values(values, f"{prefix}.{part}.", target_fields(target), skip=TARGET_KEYS, where=where)


def _check_values(
    node: DictConfig, prefix: str, kinds: Mapping[str, Any], *, where: str, skip: tuple[str, ...] = ()
) -> None:
    for key in map(str, node):
        if key in skip:
            continue
        if key not in kinds:
            raise unknown_key_error(f"{prefix}{key}", list(kinds), OmegaConf.to_container(node).get(key), where)  # type: ignore[union-attr]
        value = _value(node, prefix, key, kinds[key])
        if reason := find_value_error(kinds[key], value):
            hint = did_you_mean(str(value), literal_values(kinds[key]))
            raise UserError(
                f"{prefix}{key}={format_value(value)}: {reason}{hint}allowed: {describe_allowed(kinds[key])}"
            )
        if isinstance(inner := node.get(key), DictConfig):
            _check_values(inner, f"{prefix}{key}.", keys(kinds[key]), where=where)
    for key in kinds:
        if key not in node:
            raise UserError(f"{prefix}{key}: missing in {where}; allowed: {describe_allowed(kinds[key])}")


def _value(node: DictConfig, prefix: str, key: str, kind: Any) -> Any:
    if OmegaConf.is_missing(node, key):
        hint = " (a folder or a hub id)" if key in ("path", "source") else ""
        raise UserError(f"{prefix}{key}=???: not set; add {prefix}{key}=...; allowed: {describe_allowed(kind)}{hint}")
    try:
        value = node[key]
    except OmegaConfBaseException as error:
        raw = OmegaConf.to_container(node, resolve=False)
        reference = raw.get(key) if isinstance(raw, dict) else ""
        raise UserError(
            f"{prefix}{key}={reference}: {str(error).splitlines()[0]}; set {prefix}{key} itself; "
            f"allowed: {describe_allowed(kind)}"
        ) from error
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value
