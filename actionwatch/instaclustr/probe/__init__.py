"""Find out undocumented properties of the live upstream. The findings describe shapes and never contain values.

`probing.py` runs the checks; each returns `ProbeFinding`s, which `actionwatch probe` prints.
"""
