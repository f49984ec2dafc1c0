"""A server whose gateway is watched and not, in turns of a fraction of a second."""
