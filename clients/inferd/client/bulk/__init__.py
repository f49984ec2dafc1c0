"""Bulk jobs: many chunks over one stream, continued where a broken connection left them."""
