"""Training: makes every file in `weights/` from labelled radiographs, with the preparation that serving uses."""
