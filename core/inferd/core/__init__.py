"""What server and worker share: the link between processes, settings, telemetry."""
