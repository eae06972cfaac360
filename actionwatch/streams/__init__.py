"""Streams: readers of the store, each with a position, which send what they read to a broker."""
