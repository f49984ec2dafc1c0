"""Running batches: inputs out of an arena, the model, outputs back into it."""
