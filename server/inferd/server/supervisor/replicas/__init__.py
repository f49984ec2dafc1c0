"""Workers as the supervisor sees them: where they run, how they start, die and come back."""
