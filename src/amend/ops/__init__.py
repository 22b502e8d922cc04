"""Pure functions on tensors: advantages, policy losses, KL estimates, loss aggregation and log-probabilities."""
