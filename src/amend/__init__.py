"""amend compares reinforcement-learning algorithms that teach language models to reason and to correct themselves."""

__version__ = "0.1.0"
