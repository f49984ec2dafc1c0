"""The gRPC door and the services behind it."""
