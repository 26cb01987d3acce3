"""Deciding: which names a list may hold, and what the resolver is to do with them. Pure."""
