"""Tracing: which requests are traced, and their spans. Imported where it is switched on."""
