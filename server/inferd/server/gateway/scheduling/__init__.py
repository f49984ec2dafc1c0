"""Queues, batches and the instances that run them."""
