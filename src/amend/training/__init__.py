"""Training: what happens between the first and the last iteration of a run."""
