"""What training does to whole batches, one operation per file."""
