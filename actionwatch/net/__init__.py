"""The network: the only HTTP client, what its responses say, and TLS."""
