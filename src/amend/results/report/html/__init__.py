"""HTML pages: the report of one run, and the report of many runs."""
