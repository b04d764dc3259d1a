"""What --data names, opened: the images of every split, and the classes."""
