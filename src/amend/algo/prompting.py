"""Ways of asking, with nothing to train: what any learner has to be better than, at the same number of sampled tokens.

``attempt`` is all they have. The table shows what comes of it beside the plain dialogue: the first attempt, and what
the method ends with.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from amend.algo.base import Algorithm
from amend.batch import Batch
from amend.ops.likelihood import Likelihood


class Prompting(Algorithm):
    """No rounds, no credit, no loss."""

    online = False

    def credit(self, batch: Batch) -> Float[Tensor, "b t"]:
        """There is none."""
        raise NotImplementedError

    def loss(self, batch: Batch, credit: Float[Tensor, "b t"], out: Likelihood) -> Float[Tensor, "b t"]:
        """There is none."""
        raise NotImplementedError
