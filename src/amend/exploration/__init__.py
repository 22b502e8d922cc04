"""Exploration: four groups of options that decide which episodes an algorithm learns from.

    temperature   how random the samples of a turn are, as a function of the run's progress
    curriculum    which problems an iteration uses
    prefill       how the first reply of an episode begins
    entropy       a term of the loss that keeps the entropy of the policy high

"Exploration is the fundamental problem" of reinforcement learning for reasoning (Havrilla 2024). Most algorithms rely
on the sampling temperature alone. These options work with every algorithm that they can affect; ``amend.config``
rejects the other combinations. The default choice of each group changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from amend.exploration.curriculum import Curriculum
from amend.exploration.entropy import Entropy
from amend.exploration.prefill import PrefillStrategy
from amend.exploration.temperature import Temperature

__all__ = ["Curriculum", "Entropy", "Exploration", "PrefillStrategy", "Temperature"]


class Exploration(NamedTuple):
    """One choice of each group.

    Attributes:
        temperature: The choice of conf/temperature.
        curriculum: The choice of conf/curriculum.
        prefill: The choice of conf/prefill.
        entropy: The choice of conf/entropy.
    """

    temperature: Temperature
    curriculum: Curriculum
    prefill: PrefillStrategy
    entropy: Entropy
