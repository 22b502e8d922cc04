"""Loggers: W&B, trackio, CSV or none. The run folder has the complete results with any of them."""
