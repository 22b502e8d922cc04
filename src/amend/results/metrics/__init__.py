"""Metrics of the episode table, as functions from arrays to arrays: accuracy, self-correction, pass@k, diversity.

Most functions return one value per problem, because intervals are computed over problems. ``amend.results.stats``
computes means and intervals from these values. This package imports no model and no torch.
"""
