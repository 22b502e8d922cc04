"""``job=doctor``: run the checks of the two modules ``preflight_*`` on the user's set-up, in about a minute."""

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
        yield from _guarded(check.__name__.replace("_", " "), partial(check, components))
    try:
        scored = base_sample(cfg, components)
    except UserError as error:  # a reward that fails says so
        yield CheckResult("base sample", False, str(error))
        return
    context = CheckContext(cfg, components, algorithm, scored)
    yield from _guarded("truncation", lambda: [truncation(context)])
    yield from _guarded("something to learn", lambda: [something_to_learn(context)])
    for temperature in TEMPERATURES:
        yield from _guarded(f"log-probabilities at {temperature:g}", lambda t=temperature: [parity(components, t)])  # type: ignore[misc]
    yield from _guarded("memory", lambda: [memory(context)])
    yield from _guarded("updates", lambda: updates(context))


def _guarded(what: str, check: Callable[[], Any]) -> Iterator[CheckResult]:
    try:
        yield from check()
    except UserError as error:
        yield CheckResult(what, False, str(error))
