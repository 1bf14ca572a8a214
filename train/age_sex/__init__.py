"""Tasks that learn bone age and sex."""
