"""Helpers that know nothing of image models: tables, specs, flags, runtime, files."""
