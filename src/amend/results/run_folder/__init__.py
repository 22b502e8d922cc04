"""Create, lock, write and read run folders."""
