"""Bytes over sockets, with no opinion on what they mean; foreign errors are mapped here and nowhere else."""
