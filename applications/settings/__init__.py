"""What the user asked for: all options, and what they must agree on."""
