"""Convert messages into the texts that receivers send."""
