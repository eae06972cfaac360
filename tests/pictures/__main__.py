"""Write the pictures of the documentation: `python -m tests.pictures [--record] [--console]`.

`--record` runs the demo again first. `--console` also runs it, and photographs its pages.
"""

from __future__ import annotations

import logging
import sys

import structlog

from tests.pictures import console, gallery, terminal

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
if "--record" in sys.argv[1:]:
    terminal.record()
if "--console" in sys.argv[1:]:
    console.photograph(gallery.FOLDER)
gallery.write()
