"""The supervisor: settings, repository, versions, and the processes that serve them. Never torch, never gRPC."""
