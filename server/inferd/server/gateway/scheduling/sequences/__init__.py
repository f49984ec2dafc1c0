"""Models that keep state between requests: which instance keeps it, and until when."""
