"""Tables of radiographs: batch assessment, and how well the results agree with reference readings."""
