"""Turn the words of the command line into a checked configuration. No module of this package imports torch."""
