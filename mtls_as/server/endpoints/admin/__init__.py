"""The administration: what operators do, over HTTP with this server's own bound tokens, or on its machine."""
