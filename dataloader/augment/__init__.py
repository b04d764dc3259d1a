"""What training does to single images, one operation a file."""
