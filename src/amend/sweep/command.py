"""The command line of one run, as wandb's own agent makes it from the same file, so that a run is the same run here and
there.

    ${env} ${interpreter} ${program}      /usr/bin/env, python, the file's program
    ${args_no_hyphens}  k=v               the form Hydra reads; beside it every other form the agent knows
    ${envvar:NAME}                        a variable of the environment, anywhere inside a word

A macro stands for words only where it is a whole word of ``command``. What wandb's agent does is the standard: a test
feeds both the same files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from amend.errors import UserError
from amend.sweep.spec import Parameters, Sweep

VARIABLE = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")
SIZES = (  # how words begin that only say how large a run is
    "scale=", "scale.", "budget.", "eval.problems=", "eval.samples=", "eval.pass_at_k_samples=",
    "eval.pass_at_k_problems=",
)  # fmt: skip


def arguments(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every form in which the agent can hand over parameters, by macro."""
    plain = {key: f"{key}={value}" for key, value in parameters.items()}
    return {
        "args": [f"--{word}" for word in plain.values()],
        "args_no_hyphens": list(plain.values()),
        "args_no_equals": [part for key, value in parameters.items() for part in (f"--{key}", str(value))],
        "args_no_boolean_flags": [
            f"--{key}" if value is True else f"--{plain[key]}"
            for key, value in parameters.items()
            if value is not False
        ],
        "args_json": [json.dumps(dict(parameters))],
        "args_append_hydra": [f"+{word}" for word in plain.values()],
        "args_override_hydra": [f"++{word}" for word in plain.values()],
    }


def command_line(sweep: Sweep, parameters: Parameters) -> list[str]:
    """All words of a run's command line, the first the program that starts it."""
    given = arguments(parameters) | {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep.program]}
    words: list[str] = []
    for chunk in sweep.command:
        chunk = VARIABLE.sub(lambda found: os.environ.get(found[1], found[1]), chunk)
        if chunk.startswith("${") and chunk.endswith("}"):
            if chunk[2:-1] not in given:
                allowed = ", ".join(f"${{{name}}}" for name in given)
                raise UserError(f"{sweep.path}: command: {chunk}: no such macro; allowed: {allowed}, ${{envvar:NAME}}")
            words += given[chunk[2:-1]]
        else:
            words.append(chunk)
    return words


def overrides(sweep: Sweep, words: Sequence[str]) -> list[str]:
    """What Hydra is given: the words after the program. UserError where one of them is no override."""
    if sweep.program not in words:
        raise UserError(f"{sweep.path}: command: ${{program}} is missing")
    given = list(words[list(words).index(sweep.program) + 1 :])
    if stray := [word for word in given if "=" not in word or word.startswith("-")]:
        raise UserError(f"{sweep.path}: command: {stray[0]}: not key=value; allowed: ${{args_no_hyphens}}")
    return given


def resized(words: Sequence[str], scale: str) -> list[str]:
    """The same run at another scale: words that size it give way."""
    return [*(word for word in words if not word.startswith(SIZES)), f"scale={scale}"]
