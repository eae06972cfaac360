"""Streams: readers of the store with a position of their own, which send what they read to a broker."""
