"""What is known of an image, and how it follows a change of geometry; one kind a file."""
