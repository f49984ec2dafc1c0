"""The gateways of a server: how many, each kept alive, all told the same, their counts added up."""
