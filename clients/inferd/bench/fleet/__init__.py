"""The client processes: how many there are, and what they are ordered to do."""
