"""HTTP and TLS: the one HTTP client of actionwatch."""
