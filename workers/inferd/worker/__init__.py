"""The process that loads one model on one device and runs its batches."""
