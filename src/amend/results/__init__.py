"""Results: run folders, metrics, statistics, analysis and reports. No module of this package imports torch."""
