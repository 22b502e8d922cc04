"""Rewards: one file a part, each one number a turn, and ``Score``, which adds them up and says so when one fails."""

from amend.reward.score import Reward, Score

__all__ = ["Reward", "Score"]
