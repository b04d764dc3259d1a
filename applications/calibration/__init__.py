"""Temperature and thresholds, chosen on validation images."""
