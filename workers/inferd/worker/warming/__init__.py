"""Before the first request: made-up inputs, first batches, and how long batches take."""
