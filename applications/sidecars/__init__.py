"""Files beside the images: teachers' answers and curricula."""
