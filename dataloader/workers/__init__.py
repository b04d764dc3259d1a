"""Processes that read images."""
