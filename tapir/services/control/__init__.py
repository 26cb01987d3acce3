"""Looking inside and steering: the console and the health of the whole."""
