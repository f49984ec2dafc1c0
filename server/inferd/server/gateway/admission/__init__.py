"""Whether a request fits the model it names: every check that happens before queueing."""
