"""The narrow waist between "what to say next" and "who computes it": every engine is these three members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from amend.types import Completion, Sampling, Tokens

Seed = tuple[int, ...]


@runtime_checkable
class Engine(Protocol):
    """Draws replies from a policy.

    ``sample`` returns one completion a prompt, in order. Each prompt brings its own seed, so a reply does not depend on
    what else is in the call. The log-probabilities are those of the drawn tokens under the distribution they were drawn
    from. ``sync`` is called after every change of the weights. ``batch`` is how many prompts it likes at once.
    """

    batch: int

    def sample(self, prompts: Sequence[Tokens], how: Sampling, seeds: Sequence[Seed]) -> list[Completion]: ...

    def sync(self) -> None: ...
