"""Torch modules by task, how they are built, and where their weights come from."""
