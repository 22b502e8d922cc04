"""The built-in model: its weights, its tokenizer, and the code that pretrains it."""
