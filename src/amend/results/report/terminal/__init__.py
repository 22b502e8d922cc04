"""Terminal output: the live view during training, and tables."""
