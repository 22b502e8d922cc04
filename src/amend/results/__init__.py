"""Write and read run folders, compute metrics and statistics, and create reports, without torch."""
