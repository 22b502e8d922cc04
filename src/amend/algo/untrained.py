"""The base model as it is, asked as everyone else is: the zero of every comparison."""

from __future__ import annotations

from amend.algo.prompting import Prompting


class Untrained(Prompting):
    """Nothing is done."""
