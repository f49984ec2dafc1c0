"""What can be seen of the server under load: its own statistics, and its processes."""
