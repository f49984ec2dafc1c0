"""How servers are asked: the bytes of a request, and the numbers in an answer."""
