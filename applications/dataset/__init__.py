"""Looking at a data set, and writing a new one."""
