"""Every variant that the documentation leaves open, and every fault of a transport, switchable while the server runs.

`table.py` is the list; `fault.py` how one is written; `playing.py` the set that plays. The rest is what each one does.
"""
