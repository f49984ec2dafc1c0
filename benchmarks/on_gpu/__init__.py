"""What serving costs beside the bare model on a GPU: the parts of `gpu.py`."""
