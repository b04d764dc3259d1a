"""Files beside the images that say something of each."""
