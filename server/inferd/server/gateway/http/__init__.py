"""The Open Inference Protocol over HTTP, on the same dataplane as gRPC."""
