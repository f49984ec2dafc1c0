"""What can be called, whichever door the call came through."""
