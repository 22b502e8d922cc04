"""Grade replies: extract the answer or the program and return a verdict. No module here imports torch or a task."""
