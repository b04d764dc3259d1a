"""Smaller networks: pruned channels, and widths as plain numbers."""
