"""What training does to single images, one operation per file."""
