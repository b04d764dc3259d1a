"""Files next to the images with numbers for each image."""
