"""Charts as values, and their SVG rendering."""
