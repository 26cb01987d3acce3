"""The actors, a room per group; groups meet only through `tapir.model.messages` and refs from `tree.py`."""
