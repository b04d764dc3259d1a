"""Kinds of targets, and how each follows a change of geometry; one kind per file."""
