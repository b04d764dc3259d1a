"""Answers for images without a label."""
