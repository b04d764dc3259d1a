"""The images of a data set: found, split, and held to what they were."""
