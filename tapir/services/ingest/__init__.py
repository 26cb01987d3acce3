"""dnstap in: what is read, minimised, counted, kept, and which names are new."""
