"""Datasets: where problems come from, generated or read from files and from the hub."""
