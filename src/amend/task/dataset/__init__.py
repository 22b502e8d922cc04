"""Sources of problems: generators, and readers of JSON files and of data sets on the Hugging Face hub."""
