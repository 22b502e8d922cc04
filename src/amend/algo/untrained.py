"""Answer with the base model without training: the baseline of every comparison.

The model answers with the dialogue of the run, like the model that any other algorithm trains.
"""

from __future__ import annotations

from amend.algo.prompting import Prompting


class Untrained(Prompting):
    """A prompting method that answers with the base model and the dialogue alone."""
