"""Run untrusted Python programs in bubblewrap sandboxes, without network and without the user's files."""
