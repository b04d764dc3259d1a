"""Methods that learn from good images alone what is normal, on the maps of an encoder, without gradients: a detector a file."""
