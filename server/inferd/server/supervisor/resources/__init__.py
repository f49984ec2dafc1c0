"""What GPUs and processes use: read from the machine, added up per model version."""
