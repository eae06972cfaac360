"""Fill templates in: one message becomes the texts that its receiver's channel takes, and always becomes something.

The operator's folder overrides the shipped templates name by name. What a template prints is escaped for its channel, which
the end of its name tells. A template that fails gives way to the shipped one of that name, and that to a plain text which
cannot fail; each failure is returned, for people to see. Variables and filters: docs/templates.md.
"""

from __future__ import annotations

from actionwatch.render.channels import CHANNELS
from actionwatch.render.plain import plain
from actionwatch.render.renderer import Renderer, read_texts, variables
from actionwatch.render.samples import sample_messages

__all__ = ["CHANNELS", "Renderer", "plain", "read_texts", "sample_messages", "variables"]
