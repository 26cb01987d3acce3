"""The values everyone speaks: frozen, pure, and without an opinion."""
