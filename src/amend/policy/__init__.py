"""The policy: a language model, its frozen reference model, and the conversion of conversations to tokens."""
