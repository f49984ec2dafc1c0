"""Clients to begin with: samples in other languages, and typed Python modules of served models."""
