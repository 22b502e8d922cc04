"""Compare reinforcement-learning algorithms that teach language models to correct their own answers."""

__version__ = "0.1.0"
