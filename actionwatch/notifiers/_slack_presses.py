"""Handle the presses of Slack's buttons (Acknowledge, Silence 1 h, Resolve, Reopen). `_slack_actions.py` receives them.

A press is obeyed only if it comes from the workspace of the bot and from the channel in which this receiver posted that alert,
and if its user belongs to that workspace, or is in the list of `users`. Everything else is refused and logged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec
import structlog

from actionwatch.base.errors import ActionwatchError, DeliveryError, TransientDeliveryError
from actionwatch.notifiers._slack_api import SlackApi, escaped
from actionwatch.notifiers._slack_buttons import BLOCK_ID, BUTTONS, MAX_VALUE_CHARS, PREFIX
from actionwatch.notifiers.base import OnAction, ReferenceOf
from actionwatch.text.escaping import one_line, shorten

_MAX_DECISION_CHARS = 300
_LIST_TEAMS = "auth.teams.list?limit=1000"  # in the URL, because it accepts no JSON; it returns at most 1000

log = structlog.get_logger()


class _Identified(msgspec.Struct):
    id: str


class _User(msgspec.Struct):
    id: str
    username: str = ""
    name: str = ""
    team_id: str | None = None
    """The workspace of the user, which is another one in a shared channel; or the organisation of that workspace."""


class _Action(msgspec.Struct):
    action_id: str = ""
    value: str = ""


class _Shown(msgspec.Struct):
    """The message with the pressed button, which is shown again with the decision in it."""

    ts: str
    text: str = ""
    metadata: dict[str, Any] | None = None
    blocks: list[dict[str, Any]] | None = None
    attachments: list[dict[str, Any]] | None = None


class Press(msgspec.Struct):
    user: _User
    channel: _Identified
    message: _Shown
    actions: list[_Action]
    team: _Identified | None = None
    enterprise: _Identified | None = None


class _Workspace(msgspec.Struct):
    """The workspace of the bot, as `auth.test` returns it; the whole organisation, if the app is installed there."""

    team_id: str
    enterprise_id: str | None = None
    is_enterprise_install: bool = False
    teams: tuple[_Identified, ...] = ()
    """The workspaces of the organisation that have the app, if it is installed there."""

    def contains(self, press: Press) -> bool:
        """Return whether the message with the button is here."""
        if self.is_enterprise_install:
            return press.enterprise is not None and press.enterprise.id == self.enterprise_id
        return press.team is not None and press.team.id == self.team_id

    def has(self, user: _User) -> bool:
        """Return whether a user belongs to it. In an organisation, Slack may name only that as the team of a user.

        https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
        """
        return user.team_id in (None, self.team_id, self.enterprise_id, *(team.id for team in self.teams))


class _Teams(msgspec.Struct):
    teams: tuple[_Identified, ...]


class _Refused(Exception):
    """A press that is not obeyed; str() is the reason."""


class Presses:
    """Decides about presses, and answers them with the bot."""

    def __init__(
        self,
        bot: SlackApi,
        on_action: OnAction,
        reference_of: ReferenceOf,
        *,
        receiver: str,
        users: Collection[str] = (),
    ) -> None:
        """`users` are the ids of those who may press; everyone in the channel, if there are none."""
        self.receiver = receiver
        self._bot = bot
        self._on_action = on_action
        self._reference_of = reference_of
        self._users = users
        self._workspace: _Workspace | None = None

    def read_workspace(self) -> None:
        """Ask for the workspace of the bot, from which presses must come. Raises: DeliveryError."""
        try:
            workspace = msgspec.convert(self._bot.call("auth.test", {}), _Workspace)
            if workspace.is_enterprise_install:
                workspace.teams = msgspec.convert(self._bot.call(_LIST_TEAMS, {}), _Teams).teams
            self._workspace = workspace
        except msgspec.ValidationError as exc:
            raise TransientDeliveryError(f"Slack did not name the workspace of the bot: {exc}") from exc

    def close(self) -> None:
        """Close the connections of the bot."""
        self._bot.close()

    def handle(self, payload: Any) -> None:
        """Do what a press asks for, and show the decision, or refuse it."""
        try:
            press = msgspec.convert(payload, Press)
            for action in press.actions:
                name = action.action_id.removeprefix(PREFIX)
                if name in BUTTONS and name != action.action_id:
                    self._act(name, action.value, press)
        except msgspec.ValidationError as exc:
            self.refuse(f"not a press: {exc}")

    def refuse(self, reason: str) -> None:
        """Log why a press is not obeyed."""
        log.warning("slack_press_refused", receiver=self.receiver, reason=one_line(shorten(reason, 300)))

    def _check_origin(self, press: Press, alert_id: str) -> None:
        """Check who pressed, and where. Only a user in the channel of the alert gets an answer.

        Raises: _Refused.
        """
        if self._workspace is None or not self._workspace.contains(press):
            raise _Refused(f"{_who(press.user)} pressed in another workspace")
        if not self._workspace.has(press.user) and press.user.id not in self._users:
            raise _Refused(f"{_who(press.user)} is from another workspace, and not in users")
        if not 0 < len(alert_id) <= MAX_VALUE_CHARS:
            raise _Refused("the value of the button is not the id of an alert")
        reference = self._reference_of(alert_id)
        if reference is None:
            raise _Refused(f"this receiver posted no message about the alert {shorten(alert_id, 100)}")
        if reference.rpartition(":")[0] != press.channel.id:
            raise _Refused(f"{_who(press.user)} pressed in another channel than that of the alert")
        if self._users and press.user.id not in self._users:
            what = "you are not in the list of users of this receiver"
            self._reply_privately(f"Not done: {what}. Ask the operator of actionwatch to add you.", press)
            raise _Refused(f"{_who(press.user)} is not in users")

    def _act(self, name: str, alert_id: str, press: Press) -> None:
        who = _who(press.user)
        try:
            self._check_origin(press, alert_id)
            decision = self._on_action(name, alert_id, who)
        except _Refused as exc:
            self.refuse(str(exc))
        except ActionwatchError as exc:
            self._reply_privately(f"{BUTTONS[name]} failed: {exc}", press)
        except Exception as exc:
            # Its thread would swallow the exception, and the user would believe that it worked.
            log.exception("slack_action_failed", receiver=self.receiver, action=name, error=type(exc).__name__)
            self._reply_privately(f"{BUTTONS[name]} failed: unexpected {type(exc).__name__}", press)
        else:
            log.info("slack_action_taken", receiver=self.receiver, action=name, alert=alert_id, who=who)
            if not decision.is_new:
                # The message in the channel may be newer than the one in the payload: do not overwrite it.
                self._reply_privately(f"Nothing to do. {decision.text}", press)
            elif name in ("resolve", "reopen"):
                # The same: the worker updates it at once, and it may be faster. No later update would repair it.
                self._reply_privately(decision.text, press)
            else:
                self._call("chat.update", decided(press, name, decision.text))

    def _reply_privately(self, what: str, press: Press) -> None:
        """Show a text only to the user who pressed the button."""
        text = escaped(shorten(what, 500))
        self._call("chat.postEphemeral", {"channel": press.channel.id, "user": press.user.id, "text": text})

    def _call(self, method: str, arguments: Mapping[str, Any]) -> None:
        try:
            self._bot.call(method, arguments)
        except DeliveryError as exc:
            # The action itself is done: the next update of the alert shows it.
            log.warning("slack_reply_failed", receiver=self.receiver, error=str(exc))


def decided(press: Press, name: str, text: str) -> dict[str, Any]:
    """Return the message with the decision in place of the pressed button."""
    message = press.message
    marked = f":white_check_mark: {escaped(shorten(text, _MAX_DECISION_CHARS))}"
    note = {"type": "context", "elements": [{"type": "mrkdwn", "verbatim": True, "text": marked}]}
    kept = {key: value for key, value in (("text", message.text), ("metadata", message.metadata)) if value}
    attachments = [_attachment(item, name, note) for item in message.attachments or []]
    blocks = _replaced(message.blocks or [], name, note)
    target = {"channel": press.channel.id, "ts": message.ts}
    return {**kept, **target, "blocks": blocks, "attachments": attachments}


def _attachment(item: dict[str, Any], name: str, note: Mapping[str, Any]) -> dict[str, Any]:
    """Return an attachment with the note in its blocks, if it has any."""
    if not isinstance(item.get("blocks"), list):
        return item
    kept = {key: item[key] for key in ("color", "fallback") if item.get(key)}
    return {**kept, "blocks": _replaced(item["blocks"], name, note)}


def _replaced(blocks: list[Any], name: str, note: Mapping[str, Any]) -> list[Any]:
    """Remove the pressed button and append the note."""
    made: list[Any] = []
    for block in blocks:
        if not isinstance(block, dict) or block.get("block_id") != BLOCK_ID:
            made.append(block)
            continue
        pressed = f"{PREFIX}{name}"
        elements = block["elements"] if isinstance(block.get("elements"), list) else []
        left = [each for each in elements if isinstance(each, dict) and each.get("action_id") != pressed]
        if left:
            made.append({**block, "elements": left})
        made.append(note)
    return made


def _who(user: _User) -> str:
    """Name the user by name and id: users can choose their names, but not their ids."""
    name = one_line(shorten(user.username or user.name or "unknown user", 80))
    return f"{name} ({one_line(shorten(user.id, 80))})"
