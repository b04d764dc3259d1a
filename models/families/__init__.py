"""Networks written here, one family a file."""
