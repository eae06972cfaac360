"""Build the streams of the configuration, and watch how far they lag behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Message
from actionwatch.base.plurals import counted
from actionwatch.queries.streams import StreamState, read_streams
from actionwatch.render.renderer import Renderer
from actionwatch.service.machine import Machine
from actionwatch.service.roles import Role
from actionwatch.settings import Settings
from actionwatch.settings import Stream as StreamSettings
from actionwatch.settings.stream_keys import KEYS
from actionwatch.store import streams
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.membership import stream_role
from actionwatch.streams.driver import build_driver, driver_module
from actionwatch.streams.messages import Plan
from actionwatch.streams.stream import Stream
from actionwatch.text.matchers import parse_matcher

_OBJECT_BATCH, _OBJECT_WAIT = 10_000, timedelta(minutes=1)
_TROUBLE = "stream_lagging"

log = structlog.get_logger()


def build_plan(options: StreamSettings, renderer: Callable[[], Renderer] | None = None) -> Plan:
    """Return the plan of a stream. Without a renderer, it can be moved, but sends nothing in a template of the operator."""
    traits = driver_module(options.type).TRAITS
    template = options.template
    batch, wait = (_OBJECT_BATCH, _OBJECT_WAIT) if traits.is_object else (traits.max_batch, timedelta(0))
    return Plan(
        name=options.name,
        what=options.what,
        matchers=tuple(parse_matcher(text) for text in options.matchers),
        format=options.format,
        key=options.key or KEYS[options.what][0],
        start=options.start,
        watermark=options.watermark,
        batch=min(options.batch or batch, batch),
        wait=wait if options.wait is None else options.wait,
        is_object=traits.is_object,
        render=_rendering(renderer, template) if renderer and template else None,
    )


def _rendering(renderer: Callable[[], Renderer], template: str) -> Callable[[Message], str]:
    def render(message: Message) -> str:
        rendered, faults = renderer().render((template,), message)
        for fault in faults:
            log.warning("stream_template_failed", fault=str(fault))
        return rendered.texts[template]

    return render


def build_streams(
    settings: Settings,
    database: Database,
    clock: Callable[[], datetime],
    machine: Machine,
    renderer: Callable[[], Renderer],
) -> dict[str, Stream]:
    """Build the streams by name. They connect when they have something to send. `renderer` is asked if a template is filled."""
    found = {}
    for each in settings.streams:
        store = database.as_holder(stream_role(each.name))
        found[each.name] = Stream(build_plan(each, renderer), build_driver(each), store, clock, machine.elapsed)
    return found


def role_of(stream: Stream, forget: Callable[[str], None], run: Callable[[str], None]) -> Role:
    """Return the role that sends a stream. `forget` and `run` get its name: how its steps went before, its steps now."""
    name = stream_role(stream.plan.name)

    def begin() -> None:
        stream.begin()
        forget(name)

    return Role(name, begin, stream.stop, lambda: run(name))


class StreamWatch:
    """Opens the self-alert `stream_lagging` for each stream that is too far behind, or whose destination refuses messages."""

    def __init__(
        self,
        configured: Sequence[StreamSettings],
        database: StoreReader,
        self_alerts: SelfAlerts,
        clock: Callable[[], datetime],
    ) -> None:
        self._configured = configured
        self._database = database
        self._self_alerts = self_alerts
        self._clock = clock

    def run_once(self) -> None:
        """Report what lags, and settle what no longer does, also of streams that were removed."""
        now = self._clock()
        with self._database.read() as connection:
            states = read_streams(connection, self._configured, now)
        lagging = {state.name: why for state in states if (why := self._why(state))}
        for name, why in lagging.items():
            remedy = "run 'actionwatch streams list'; 'actionwatch check --live' tries its destination"
            self._self_alerts.report(_TROUBLE, name, why, remedy)
        self._self_alerts.settle_others(_TROUBLE, set(lagging))

    def _why(self, state: StreamState) -> str:
        """Return why a person must look at a stream; empty if nobody must."""
        if state.lag >= state.configured.max_lag:
            failing = f", because {state.health.last_error}" if state.health.failing_since else ""
            return f"its oldest message has been waiting for {spell_duration(state.lag)}{failing}"
        if state.refused_count:
            return (
                f"its destination refused {counted(state.refused_count, 'message')}; see 'actionwatch streams refused'"
            )
        return ""


def forget_removed(database: Database, configured: Sequence[StreamSettings]) -> None:
    """Delete what is stored about streams that are no longer configured, and that nobody sends."""
    known = [each.name for each in configured]
    if database.is_shared:  # a replica with another configuration may be sending it
        known += [role.removeprefix(stream_role("")) for role in database.peers.roster().holders]
    with database.write() as connection:
        for name in streams.forget_others(connection, known):
            log.info("stream_forgotten", stream=name)
