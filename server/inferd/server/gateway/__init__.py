"""The gateway process: calls come in, are validated, queued and batched, and go to workers."""
