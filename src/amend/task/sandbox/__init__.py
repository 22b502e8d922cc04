"""Run untrusted Python programs behind bubblewrap, in processes that have no network and no access to files."""
