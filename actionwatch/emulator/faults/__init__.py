"""Fault injection: variants that the documentation leaves open, and faults of the transport, at run time.

`table.py` lists the faults, `fault.py` parses them, and `playing.py` holds the active ones. The other modules implement them.
"""
