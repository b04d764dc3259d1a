"""Losses of whole regions: of the pixels of a class together, where the loss of single pixels drowns small classes."""
