"""Between Python values and the protocol's bytes: no I/O here, so both clients share all of it."""
