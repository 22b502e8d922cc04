"""Engines that sample replies, and the runner that plays episodes with any engine."""
