"""The authorization server without HTTP: who the client is, what it may have, and the token it gets."""
