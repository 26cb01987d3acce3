"""The list keeper, sole writer of list state, and the policy evaluator, which decides on it."""
