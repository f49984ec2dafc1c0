"""Which versions of a model are served, and one generation of one of them."""
