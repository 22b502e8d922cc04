"""The mathematics: tensors in, tensors out. Credit, surrogate, KL, reduction, likelihood; nothing knows a model."""
