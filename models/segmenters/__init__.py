"""Networks that give every pixel a class: an encoder, and a decoder a file."""
