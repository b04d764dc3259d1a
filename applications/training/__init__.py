"""Training a model, and what belongs to its run."""
