"""The language model: its log-probabilities, its frozen reference, and how a conversation becomes tokens."""
