"""A trained model read back, and its answers."""
