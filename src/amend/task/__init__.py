"""Tasks: they pose problems and grade replies, and do not depend on a model."""
