"""The mathematics: tensors in, tensors out. Credit, surrogate, KL, reduction, likelihood; nothing here knows a model."""
