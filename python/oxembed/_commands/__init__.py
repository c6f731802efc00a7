"""The commands of the command line, imported only by the one that runs."""
