"""Build the renderer of messages. Apart from `receivers.py`, because `check` needs nothing that delivers."""

from __future__ import annotations

from actionwatch.render.renderer import Renderer
from actionwatch.service.configuration import shipped
from actionwatch.settings import Settings


def build_renderer(settings: Settings) -> Renderer:
    """Build the renderer. The operator's templates have precedence over the shipped ones."""
    return Renderer([settings.templates, shipped("templates")], settings.time_zone)
