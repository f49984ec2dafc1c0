"""Contenders: how each one's server is started, asked, paused and stopped."""
