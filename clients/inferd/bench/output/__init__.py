"""What people get to see of a run: progress, a table, a page."""
