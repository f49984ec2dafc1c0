"""inferd's own services, beside the Open Inference Protocol."""
