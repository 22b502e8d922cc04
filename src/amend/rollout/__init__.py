"""Engines that sample, and ``play``, which turns problems into episodes through any of them."""
