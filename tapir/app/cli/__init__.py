"""The commands. A plain module each: what it prints, and its exit code."""
