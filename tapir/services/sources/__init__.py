"""Intelligence in: one actor a source, which speaks to the list keeper only."""
