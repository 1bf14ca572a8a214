"""Radiograph and hand mask -> the input of one network."""
