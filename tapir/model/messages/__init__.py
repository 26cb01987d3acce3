"""What the service groups say to each other, one module per conversation."""
