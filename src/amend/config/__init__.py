"""From words on the command line to a checked configuration. No module of this package imports torch."""
