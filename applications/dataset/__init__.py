"""Looking at a data set, and writing one anew."""
