"""Build the command line of one run exactly as wandb's agent does.

    ${env} ${interpreter} ${program}      /usr/bin/env, python, the program of the file
    ${args_no_hyphens}  k=v               the form that Hydra reads; the agent's other forms work as well
    ${envvar:NAME}                        an environment variable, anywhere inside a word

Every macro except ``${envvar:NAME}`` must be a whole word of ``command``. A test compares the command lines with those
of wandb's agent.
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
SIZES = (  # prefixes of the overrides that set the size of a run
    "scale=", "scale.", "budget.", "eval.problems=", "eval.samples=", "eval.pass_at_k_samples=",
    "eval.pass_at_k_problems=",
)  # fmt: skip


def arguments(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the words of each macro for parameters, as wandb's agent writes them."""
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
    """Return the command line of a run.

    Raises:
        UserError: If ``command`` has an unknown macro.
    """
    macros = arguments(parameters) | {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep.program]}
    words: list[str] = []
    for chunk in sweep.command:
        chunk = VARIABLE.sub(lambda match: os.environ.get(match[1], match[1]), chunk)
        if chunk.startswith("${") and chunk.endswith("}"):
            if chunk[2:-1] not in macros:
                allowed = ", ".join(f"${{{name}}}" for name in macros)
                raise UserError(f"{sweep.path}: command: {chunk}: no such macro; allowed: {allowed}, ${{envvar:NAME}}")
            words += macros[chunk[2:-1]]
        else:
            words.append(chunk)
    return words


def overrides(sweep: Sweep, words: Sequence[str]) -> list[str]:
    """Return Hydra's overrides: the words after the program.

    Raises:
        UserError: If the program is missing, or a word is not an override.
    """
    if sweep.program not in words:
        raise UserError(f"{sweep.path}: command: ${{program}} is missing")
    after = list(words[list(words).index(sweep.program) + 1 :])
    if stray := [word for word in after if "=" not in word or word.startswith("-")]:
        raise UserError(f"{sweep.path}: command: {stray[0]}: not key=value; allowed: ${{args_no_hyphens}}")
    return after


def resized(words: Sequence[str], scale: str) -> list[str]:
    """Return the overrides of the same run at another scale, without those that set its size."""
    return [*(word for word in words if not word.startswith(SIZES)), f"scale={scale}"]
