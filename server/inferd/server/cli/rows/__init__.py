"""Files of rows: read block by block, answered, and written so that a crash costs nothing."""
