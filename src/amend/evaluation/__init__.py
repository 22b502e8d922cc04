"""Evaluation: play the dialogue on fixed problems and write the episode table."""
