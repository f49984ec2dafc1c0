"""Contenders: each driver starts one server of the echo model and stops it again."""
