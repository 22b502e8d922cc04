"""The built-in model: weights, tokenizer, and the code that pretrains it."""
