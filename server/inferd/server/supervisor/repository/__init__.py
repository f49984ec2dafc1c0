"""What lies on disk: recognising models, reading what their authors declared, refusing what would run code."""
