"""DNS TAPIR in Python: protects the users of a DNS resolver without reporting on them."""
