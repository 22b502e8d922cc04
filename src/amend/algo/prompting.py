"""Ways of asking, with nothing to train: what any learner has to be better than, at the same number of sampled tokens.

``attempt`` is all they have. The table shows what comes of it beside the plain dialogue: the first attempt, and what
the method ends with.
"""

from __future__ import annotations

from typing import TypedDict, Unpack

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.algo.context import AlgorithmContext
from amend.batch import Batch
from amend.ops.logprobs import TokenLogprobs
from amend.value_types import Count


class PromptingConfig(TypedDict):
    """Keys of every prompting method."""

    max_tokens: Count
    """Largest number of tokens of one reply, the end token included."""


class Prompting(Algorithm):
    """No rounds, no credit, no loss."""

    online = False

    def __init__(self, context: AlgorithmContext, **prompting: Unpack[PromptingConfig]) -> None:
        super().__init__(
            context,
            **prompting,
            num_iterations=0,
            groups_per_batch=1,
            group_size=1,
            turns=1,
            lr=0.0,
            lr_scheduler_type="none",
            warmup_steps=0,
            weight_decay=0.0,
            max_grad_norm=1.0,
            update_epochs=1,
            num_minibatches=1,
        )

    def advantages(self, batch: Batch) -> Float[Tensor, "b t"]:
        """There is none."""
        raise NotImplementedError

    def loss(self, batch: Batch, advantages: Float[Tensor, "b t"], out: TokenLogprobs) -> Float[Tensor, "b t"]:
        """There is none."""
        raise NotImplementedError
