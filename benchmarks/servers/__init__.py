"""Servers to compare with; each a process of its own that writes its address to a file."""
