"""What every notifier is: a module `notifiers/<type>.py` with `Options`, `build` and the templates it fills.

A notifier sends one message once. It returns, or raises a transient or a permanent `DeliveryError`; retrying, ordering and
giving up belong to the outbox. It is called from several threads at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from actionwatch.model import Message, Receipt
from actionwatch.options import Options

ANSWER_CHARS = 500  # the contract: a refusal is kept with the answer's first 500 characters


@dataclass(frozen=True, slots=True)
class Rendered:
    """The texts of one message, by template name without folder and `.j2` (`email.html`); empty where a type needs none."""

    texts: Mapping[str, str]


class Notifier(Protocol):
    """The code behind a receiver."""

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Send once. `reference` is what an earlier message of the same alert brought back here, None at first.

        Raises: TransientDeliveryError, PermanentDeliveryError; nothing else.
        """
        ...

    def close(self) -> None:
        """Close what is open. Called once, after the last `send`."""
        ...


class NotifierModule(Protocol):
    """What a module `notifiers/<type>.py` offers."""

    TEMPLATES: tuple[str, ...]
    """Names of the templates to fill for each message, such as `("email.html", "email.txt", "email.subject")`."""
    DEFAULT_RATE_PER_SECOND: float | None
    """How many messages a second the service takes; None where it sets no limit."""
    Options: type[Options]

    def build(self, options: Any, *, receiver: str) -> Notifier:
        """Make the notifier of one receiver from its validated options. Opens no connection."""
        ...


def notifier_types() -> tuple[str, ...]:
    """List the known types, which are the file names of this folder."""
    package = importlib.import_module("actionwatch.notifiers")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if name != "base"))


def notifier_module(name: str) -> NotifierModule:
    """Import the module of a type that `notifier_types` lists."""
    module: Any = importlib.import_module(f"actionwatch.notifiers.{name}")
    return module  # type: ignore[no-any-return]
