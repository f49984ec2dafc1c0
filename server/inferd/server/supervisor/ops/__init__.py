"""What operators look at: metrics, probes, status, on a port of their own."""
