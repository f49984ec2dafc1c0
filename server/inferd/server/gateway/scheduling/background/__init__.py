"""Work that fills idle capacity: what waits of it, and how much of it runs beside other requests."""
