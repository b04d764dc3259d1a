"""A page and a JSON API on this machine for models that are ready."""
