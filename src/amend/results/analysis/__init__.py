"""Analysis: from run folders to metrics with confidence intervals, without presentation."""
