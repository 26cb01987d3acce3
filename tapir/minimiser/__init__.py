"""Reducing: what of the traffic may leave the resolver, and in which form. Pure."""
