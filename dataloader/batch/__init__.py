"""What training does to whole batches, one operation a file."""
