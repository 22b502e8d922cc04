"""Rewards: one file a part, each one number a turn, and ``Score``, which adds them up and says so when one fails."""

from amend.reward.base import Reward
from amend.reward.composite import CompositeReward

__all__ = ["CompositeReward", "Reward"]
