"""Measurements of speed and quality, each run by `python -m benchmarks.NAME`."""
