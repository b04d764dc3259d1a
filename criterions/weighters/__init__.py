"""Weighters: how much each term of a loss counts, written once for softmax and sigmoids."""
