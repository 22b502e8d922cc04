"""Statistics over problems and seeds: intervals, hypothesis tests, power analysis and aggregates.

Functions that resample receive a random generator as an argument, so that results are reproducible.
"""
