"""One file a command: assess, explain, compare."""
