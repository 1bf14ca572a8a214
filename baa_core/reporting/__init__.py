"""What people see: cautions, overlays, charts and text."""
