"""The engine: how batches are walked, watched and kept."""
