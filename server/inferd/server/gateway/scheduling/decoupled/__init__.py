"""Requests that are answered by generators: many times, or never."""
