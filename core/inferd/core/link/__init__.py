"""How processes talk: frozen messages over socket pairs, tensors in shared arenas."""
