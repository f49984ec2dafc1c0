"""Bulk inference: the service, one stream of it, one chunk of that."""
