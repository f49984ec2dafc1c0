"""The first door: a loop over the completion queue of grpcio's own C core."""
