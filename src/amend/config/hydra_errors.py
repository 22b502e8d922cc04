"""Turn exceptions of Hydra and OmegaConf into one line that names the key, the value and what is allowed."""

from __future__ import annotations

import re
import sys
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig

from amend.config.compose import config_dir
from amend.config.renamed import renamed_key, renamed_word
from amend.config.value_checks import did_you_mean, format_value
from amend.errors import UserError


def config_file(group: str, name: str) -> str:
    """Return the path of a choice's YAML file, or of its group if the choice has no file."""
    path = f"conf/{group}/{name}.yaml"
    return path if (config_dir().parent / path).is_file() else f"conf/{group}"


def allowed_choices(group: str) -> str:
    """Return ``allowed: a, b`` with the choices of a group."""
    return f"allowed: {', '.join(sorted(path.stem for path in (config_dir() / group).glob('*.yaml')))}"


def unknown_key_error(key: str, known: list[str], value: Any, where: str) -> UserError:
    """Return the error for a key that does not exist.

    Args:
        key: The key. If it is the old name of a key, the message has the new name.
        known: The keys that exist at the same place.
        value: The value of the unknown key.
        where: The file or group in which the key was looked up.
    """
    if (new := renamed_key(key)) is not None:
        return UserError(f"{key}={format_value(value)}: renamed to {new}")
    prefix, _, last = key.rpartition(".")
    prefix = f"{prefix}." if prefix else ""
    return UserError(
        f"{key}={format_value(value)}: no such key in {where}{did_you_mean(last, known, prefix)}"
        f"allowed: {', '.join(known) or 'none, it has no keys'}"
    )


def is_about(error: Exception, word: str) -> bool:
    """Return whether an error of Hydra is about the key or the choice of this word of the command line."""
    key, _, value = word.lstrip("+~").partition("=")
    if isinstance(error, MissingConfigException):
        return error.missing_cfg_file == f"{key}/{value}"
    return f"'{key}'" in str(error)


def describe_hydra_error(error: Exception) -> str:
    """Describe an exception of Hydra or OmegaConf in one line."""
    text = " ".join(str(error).split())
    for word in sys.argv[1:]:
        if (new := renamed_word(word)) is not None and is_about(error, word):
            key, equals, _ = new.partition("=")
            return f"{word}: renamed to {new if equals and key.split('.')[0] == key else key}"
    if isinstance(error, MissingConfigException) and error.options is not None and error.missing_cfg_file:
        group, _, name = error.missing_cfg_file.rpartition("/")
        hint = did_you_mean(name, error.options)
        return f"{group}={name}: no such file in conf/{group}{hint}allowed: {', '.join(error.options)}"
    if isinstance(error, MissingConfigException):
        return str(error).splitlines()[0]
    if isinstance(error, OverrideParseException):
        reason = " ".join(line for line in str(error).splitlines() if "http" not in line)
        return f"{error.override}: not understood ({reason}); allowed: key=value, quoted if it has , [ {{ or ="
    if match := re.match(r"Ambiguous value for argument '(.*?)' 1\.", text):
        return f"{match[1]}: several values; allowed: one value, one run per value with -m, or a list as key=[a,b]"
    if match := re.match(r"Could not override '([^']*)'\. To append", text):
        key, cause = match[1], error.__cause__
        typed = next((word for word in sys.argv[1:] if word.startswith(f"{key}=")), f"{key}=")
        parent = getattr(cause, "parent_node", None)
        known = [str(name) for name in parent if name != "hydra"] if isinstance(parent, DictConfig) else []
        group = key.partition(".")[0] if "." in key else ""
        name = str(parent.get("name", "")) if isinstance(parent, DictConfig) and known else ""
        where = config_file(group, name) if group else "conf/config.yaml"
        known = [name for name in known if not group or name not in ("_target_", "name")]
        return str(unknown_key_error(key, known, typed.partition("=")[2], where))
    if match := re.match(r"Multiple values for (\S+)\.", text):
        return f"+{match[1]}=...: {match[1]} has a choice already; allowed: {match[1]}=... without the plus"
    return f"{text}; allowed: the keys that `python run.py --help` lists"
