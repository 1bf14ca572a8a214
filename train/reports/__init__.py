"""Commands that measure what was trained, and write the tables of the documentation."""
