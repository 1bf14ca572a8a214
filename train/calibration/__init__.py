"""Fits that turn trained networks into honest intervals and refusals."""
