"""Documents fetched from configured HTTPS URLs, bounded in size and time, and the key sets kept from them."""
