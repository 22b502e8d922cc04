"""Run folders: create, lock, write and read them."""
