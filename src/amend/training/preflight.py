"""Run the checks of ``preflight_checks`` and ``preflight_updates`` on the user's set-up: ``job=doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from omegaconf import DictConfig

from amend.components import build_algorithm, build_components
from amend.errors import UserError
from amend.training.preflight_checks import (
    TEMPERATURES,
    CheckContext,
    CheckResult,
    base_sample,
    end_and_padding,
    gold,
    memory,
    parity,
    something_to_learn,
    template,
    truncation,
)
from amend.training.preflight_updates import updates


def run_checks(cfg: DictConfig) -> Iterator[CheckResult]:
    """Yield the results of all checks, in order. If the set-up itself fails, that is the only result."""
    try:
        components = build_components(cfg)
        algorithm = build_algorithm(cfg, components)
    except UserError as error:
        yield CheckResult("set-up", False, str(error))
        return
    for check in (end_and_padding, template, gold):
        yield from _run_check(check.__name__.replace("_", " "), partial(check, components))
    try:
        scored = base_sample(cfg, components)
    except UserError as error:  # the reward of a reply could not be computed
        yield CheckResult("base sample", False, str(error))
        return
    context = CheckContext(cfg, components, algorithm, scored)
    yield from _run_check("truncation", lambda: [truncation(context)])
    yield from _run_check("something to learn", lambda: [something_to_learn(context)])
    for temperature in TEMPERATURES:
        yield from _run_check(f"log-probabilities at {temperature:g}", lambda t=temperature: [parity(components, t)])  # type: ignore[misc]
    yield from _run_check("memory", lambda: [memory(context)])
    yield from _run_check("updates", lambda: updates(context))


def _run_check(name: str, check: Callable[[], Any]) -> Iterator[CheckResult]:
    """Yield the results of a check. A ``UserError`` gives a failed result."""
    try:
        yield from check()
    except UserError as error:
        yield CheckResult(name, False, str(error))
