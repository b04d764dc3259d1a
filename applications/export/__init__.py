"""Models as files for a device, and smaller models."""
