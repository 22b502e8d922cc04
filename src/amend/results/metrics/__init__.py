"""What a table of episodes says: accuracy and flips, how far an attempt moved, pass@k and maj@k. Arrays in, arrays out.

Every function keeps the axis of problems, because that is what an interval is resampled over; ``amend.stat`` turns what
comes out of here into a figure with its uncertainty. Nothing here knows a model.
"""
