"""Loggers: W&B, trackio, CSV or none, beside the files of the run folder."""
