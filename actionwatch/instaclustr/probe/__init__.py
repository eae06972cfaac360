"""Settle what nobody has written down about the upstream, by asking the live one: its shape, never its values.

`probing.py` asks every question in turn; each answers with `Finding`s, which `actionwatch probe` prints.
"""
