"""Where `inferd inspect` learns of models: from their files and from servers."""
