"""Data sets written anew: resized, split, packed."""
