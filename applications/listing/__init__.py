"""What there is to choose from, and what it costs."""
