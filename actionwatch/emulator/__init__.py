"""The Instaclustr Organization Management API as a server, for the demo and for tests.

It is written from the API's documentation alone and imports nothing else of actionwatch, so that it can reveal mistakes of the
client.
"""
