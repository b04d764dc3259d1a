"""Where feature maps are found in any network."""
