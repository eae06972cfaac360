"""Streams: readers of the store with their position, which send what they read to a broker."""
