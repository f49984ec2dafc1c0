"""What is noted of requests that are traced or billed, and of their batches."""
