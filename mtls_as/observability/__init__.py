"""What operators see of the server's work."""
