"""The steps of a request, driven one by one."""
