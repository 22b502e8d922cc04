"""Tasks: they pose problems and check answers, and know no model."""
