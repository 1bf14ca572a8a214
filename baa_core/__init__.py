"""Open bone age assessment (temporary minimal init while modules arrive; final one restored by the lead)."""
__version__ = "0.1.0"
