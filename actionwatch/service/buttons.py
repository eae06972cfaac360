"""The buttons of messages: the listener of each receiver that has them. A click is an action of the user who clicked."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable

from actionwatch.notifiers.base import WithListener, notifier_module
from actionwatch.service.app import App, operator_actions
from actionwatch.store import receivers


def listen(app: App, wake: Callable[[], None], stack: contextlib.ExitStack) -> dict[str, Callable[[], object]]:
    """Start the listeners, which `stack` closes. Return for each receiver the check that its listener is connected.

    `wake` is called after an action has enqueued messages.
    """
    actions = operator_actions(app, wake)
    checks: dict[str, Callable[[], object]] = {}
    for receiver in app.settings.receivers:
        module = notifier_module(receiver.type)
        if not isinstance(module, WithListener):
            continue
        reference_of = functools.partial(_reference_of, app, receiver.name)
        listener = module.listener(receiver.options, actions.act, reference_of, receiver=receiver.name)
        if listener is not None:
            listener.start()
            stack.callback(listener.close)
            checks[receiver.name] = listener.check
    return checks


def _reference_of(app: App, receiver: str, alert_id: str) -> str | None:
    """Return what a receiver called its message about an alert."""
    with app.database.read() as connection:
        return receivers.read_references(connection, [alert_id], receiver).get(alert_id)
