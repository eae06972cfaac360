"""Write the pictures of the documentation: `python -m tests.pictures [--record]`. `--record` runs the demo again first."""

from __future__ import annotations

import logging
import sys

import structlog

from tests.pictures import gallery, terminal

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
if "--record" in sys.argv[1:]:
    terminal.record()
gallery.write()
