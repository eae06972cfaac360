"""Render templates: convert a message into the texts that its receiver sends. Rendering always produces a text.

A template in the operator's folder overrides the shipped one of the same name. Printed values are escaped for the channel,
which the end of the template's name determines. If a template fails, the shipped template of that name is used, and then a
plain text that cannot fail. All failures are returned. Variables and filters: docs/templates.md.
"""

from __future__ import annotations

from actionwatch.render.channels import CHANNELS
from actionwatch.render.renderer import Renderer, plain, read_texts, variables
from actionwatch.render.samples import sample_messages

__all__ = ["CHANNELS", "Renderer", "plain", "read_texts", "sample_messages", "variables"]
