"""Grading: from a reply to a verdict. No module of this package imports torch or a task."""
