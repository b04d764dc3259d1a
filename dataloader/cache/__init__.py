"""Decoded images kept in memory or in a file."""
