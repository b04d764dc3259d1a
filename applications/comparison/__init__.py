"""Whether trained models differ on the same images."""
