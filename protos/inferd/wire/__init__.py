"""Tensors, signatures and errors as they cross a process or a network: the only code that knows gRPC codes."""
