"""Pictures and charts: images with something on them, curves, letters of any script."""
