"""Figures from answers and truths, and how sure they are: boxes, outlines, probabilities, intervals."""
