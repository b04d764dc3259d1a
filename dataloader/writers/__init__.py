"""Writers of data sets: resized, split, packed."""
