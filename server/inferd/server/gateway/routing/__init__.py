"""Which deployment a model's name and version lead to."""
