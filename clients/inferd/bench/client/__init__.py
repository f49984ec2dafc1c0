"""A client process: makes the load that it is ordered to, and records every request."""
