"""What `/status` tells: the server at one moment and over its last minute."""
