"""The images of a data set: found, split, and checked for changes."""
