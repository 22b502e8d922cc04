"""Ways of asking, with nothing to train: what any learner has to be better than, at the same number of sampled tokens.

``attempt`` is all they have. The table shows what comes of it beside the plain dialogue: the first attempt, and what
the method ends with.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.bounds import Count
from amend.ops.likelihood import Likelihood


class Prompting(Algorithm):
    """No rounds, no credit, no loss."""

    online = False

    def __init__(self, *house: Any, max_tokens: Count) -> None:
        super().__init__(
            *house,
            max_tokens=max_tokens,
            rounds=0,
            problems=1,
            samples=1,
            turns=1,
            lr=0.0,
            decay="none",
            warm_up=0,
            weight_decay=0.0,
            clip_norm=1.0,
            epochs=1,
            updates=1,
        )

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """There is none."""
        raise NotImplementedError

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """There is none."""
        raise NotImplementedError
