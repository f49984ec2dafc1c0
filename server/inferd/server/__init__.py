"""The supervisor, the gateway and the command line."""
