"""What receivers get, from the first message to the last: decisions of people, escalations, fallbacks, silences, digests."""

from __future__ import annotations

import pytest

from tests.integration.delivery.kit import Desk
from tests.integration.delivery.scenarios import Play, Scenario, read

MESSAGES = """
Later matches make one update in each interval, with the newest count
    match, send, 5 x match, send
    hook: opened x1
    10s
    hook: opened x1, updated x6
    match, 9s
    hook: opened x1, updated x6
    1s
    hook: opened x1, updated x6, updated x7

An update keeps its interval after a message that was sent late itself
    match, wait 5m, send, match, 9s
    hook: opened x1
    1s
    hook: opened x1, updated x2

A receiver that cannot change a message gets one update, when no more records can join
    hook is like mail, match, send, match, 1m, match, 1m, 12m59s
    hook: opened x1
    1s
    hook: opened x1, updated x3

A message is frozen at its first attempt, and what joins meanwhile makes one update
    hook is down 2 times, match, send, 2 x match, 4 x 20s
    hook: opened x1, opened x1, opened x1, updated x3
    rows: hook opened sent, hook updated sent

An update after a dead opening is an opening
    hook refuses 1 time, match, send, match, 1m
    hook: opened x1, opened x2
    rows: hook opened dead, hook opened sent

An end reaches only the receivers that know the alert
    with other, other refuses, match, send, resolve, send
    hook: opened x1, resolved x1
    last of hook: status resolved
    other: opened x1
    rows: hook opened sent, hook resolved sent, other opened dead, other resolved suppressed

An end replaces an update that was not attempted, at once
    match, send, match, resolve, send
    hook: opened x1, resolved x2
    rows: hook opened sent, hook resolved sent

An end does not replace an opening that was not attempted
    match, resolve, send
    hook: opened x1, resolved x1
"""

DECISIONS = """
An acknowledgement is one update, none by mail, and counting goes on
    with mail, match, send, ack by sam, again ack by bob says Acknowledged by sam, 11s, 1m
    hook: opened x1, updated x1
    mail: opened x1
    last of hook: status acked, acked_by sam
    match, 11s
    hook: opened x1, updated x1, updated x2
    last of hook: status acked

An acknowledgement before the first attempt is in the opening
    match, ack by sam, 1m
    hook: opened x1
    last of hook: acked_by sam

An acknowledgement after the first attempt follows in an update
    hook is down, match, send, ack by sam, hook works, hook forgets, 11s, 11s
    hook: opened x1, updated x1
    first of hook: acked_by nobody
    last of hook: acked_by sam

A receiver that does not know the alert gets no acknowledgement
    with other, hook wants critical, other refuses, match, send, ack, 1m
    hook: nothing
    other: opened x1

A resolve is final, and the next match opens another alert
    match, send, resolve by sam, again resolve by bob says Resolved by sam, again ack by bob says Resolved by sam
    match, send
    hook in any order: opened x1, opened x1, resolved x1
    alerts: 2

An assignment is an update, and the same again changes nothing
    match, send, assign to kim by sam: her cluster, assign to kim by sam: her cluster, 11s
    hook: opened x1, updated x1
    last of hook: assigned_to kim
    assign to nobody by kim, 11s
    last of hook: assigned_to nobody
    history of assigned: to kim by sam: her cluster; to nobody by kim

A note is an update without a decision, and no mail
    with mail, match, send, note by sam: looking, note by kim: the pipeline, note by kim: the pipeline, 11s
    alert: status open, note the pipeline, noted_by kim
    hook: opened x1, updated x1
    mail: opened x1
    last of hook: note the pipeline
    history of noted: by sam: looking; by kim: the pipeline

A note about a resolved alert, and its assignment, send nothing
    match, send, resolve, 11s, note by sam: a test, assign to kim, 1m
    hook: opened x1, resolved x1
    history of noted: by sam: a test
"""

ESCALATIONS = """
An alert that nobody acknowledges goes to the receiver of its escalation, which then gets what follows
    with boss, rule escalating, match, send, match, 14m59s
    boss: nothing
    1s
    boss: opened x2
    boss reads: escalated nobody acknowledged it within 15m
    resolve, 11s
    boss: opened x2, resolved x2
    hook: opened x1, updated x2, resolved x2

A decision stops the escalation, and the history shows whose
    with boss, rule escalating, match, send, 10m, ack by sam, 10m
    boss: nothing
    history: no escalation: acked by sam

So does the end of the alert
    with boss, rule escalating, match, send, 10m, resolve by sam, 10m
    boss: nothing
    history: no escalation: resolved by sam

An escalation waits for no other message, and none waits for it
    with boss, routed to hook and boss, rule escalating, match, send, match, 11s
    boss: opened x1, updated x2
    15m
    boss: opened x1, updated x2, updated x2

An end follows an escalation that was retried
    with boss, rule escalating, boss is down, match, 15m, 8 x 1m, resolve, send, boss forgets, boss works, 3 x 11m
    boss: opened x1, resolved x1

No end follows an escalation that was refused
    with boss, rule escalating, boss is down, match, 15m, 8 x 1m, resolve, send, boss forgets, boss refuses, 3 x 11m
    boss: opened x1

A silence suppresses an escalation
    with boss, rule escalating, silence userName=eve for 1h, match, send, 15m
    boss: nothing
    1h
    boss: silence: 1

A receiver that a higher level adds does not wait for its escalation
    with boss, critical alerts go to boss, rule by severity that escalates, match of low, send, match of critical, send
    boss: opened x2

A reopened alert escalates from then on, whether its first escalation was due before or not
    with boss, rule escalating, match, send, ack, 1m | 20m, reopen, 14m59s
    boss: nothing
    1s
    boss: opened x1
    boss reads: escalated nobody acknowledged it within 15m
    escalations: -1 suppressed acked, -2 sent

So does one that was resolved
    with boss, rule escalating, match, send, resolve, 1m | 20m, reopen, 14m59s
    boss: nothing
    1s
    boss: opened x1
    escalations: -1 suppressed resolved, -2 sent

An alert escalates each time that it is reopened, also to a receiver that knows it
    with boss, rule escalating, match, 15m, ack, 1m, reopen, 15m, ack, 1m, reopen, 15m
    escalations: -1 sent, -2 sent, -3 sent

A reopened alert does not escalate to a receiver that was removed
    with boss, rule escalating, match, send, ack, remove boss, reopen, 15m
    escalations: -1 suppressed acked
    history: escalation: none: boss is no longer configured
"""

REOPENINGS = """
A reopened alert is new to its receivers, also by mail, and its end follows
    with mail, match, send, ack | resolve, 11s, reopen by kim: not fixed
    alert: status open, acked_by nobody, resolved_by nobody, reopened_by kim
    history of reopened: by kim: not fixed
    11s
    last of hook: type alert.opened, status open, reopened_by kim
    last of mail: type alert.opened, status open, reopened_by kim
    again reopen by bob says Reopened by kim, resolve, 11s
    last of hook: type alert.resolved

A decision that is taken back before its message was attempted is only an update
    match, send, ack | resolve, reopen, 11s, 1m
    hook: opened x1, updated x1
    last of hook: status open

A decision that is taken back before the first message leaves that as it was
    match, ack, reopen, 1m
    hook: opened x1
    last of hook: status open

A reopened alert is muted as its route says
    hook is muted at night, match, send, ack, 11s, night lasts from 12 to 13, reopen, 11s
    hook: opened x1, updated x1
    8h
    hook: opened x1, updated x1, mute: 1

Matches join a reopened alert
    match, resolve, reopen, match
    alerts: 1

A resolve that is taken back before it was sent is never mailed; the next one is
    with mail, match, send, resolve, reopen, 3 x 1h
    mail: opened x1
    resolve, 11s
    mail: opened x1, resolved x1

An update that such a resolve had replaced is sent at its time
    with mail, match, send, match, wait 1m, resolve, reopen, 13m59s
    mail: opened x1
    1s
    mail: opened x1, updated x2

A reopened alert reaches the fallback, once for each time, and its end
    mail backs hook, hook refuses, match, send, resolve, 11s, reopen, 2 x 1h
    mail: opened x1, resolved x1, opened x1
    resolve, 11s, reopen, 2 x 1h
    mail: opened x1, resolved x1, opened x1, resolved x1, opened x1
    mail reads: in place of hook
    resolve, 11s
    mail: opened x1, resolved x1, opened x1, resolved x1, opened x1, resolved x1
    mail reads: in place of hook

So does one that was acknowledged
    mail backs hook, hook refuses, match, send, ack, 11s, reopen, 2 x 1h, ack, 11s, reopen, 2 x 1h
    mail: opened x1, opened x1, opened x1

What waits for a failing receiver is copied again, once, if the alert was reopened since
    mail backs hook, hook refuses, match, send, ack, 1h, hook is down, reopen, 6 x 5m
    mail: opened x1, opened x1

A fallback gets the alert again although the receiver still has its opening in hand
    mail backs hook, hook is down, match, 3 x 5m, resolve, 11s
    mail: opened x1, resolved x1
    reopen, 3 x 5m
    mail: opened x1, resolved x1, opened x1

A fallback gets no end of an alert that is open again
    mail backs hook, hook refuses, match, send, resolve, reopen, 11s
    mail: opened x1
    resolve, 11s
    mail: opened x1, resolved x1
"""

FALLBACKS = """
A dead letter is copied to the fallback, once, with the name of the receiver
    mail backs hook, hook refuses, match, send
    mail: opened x1
    mail reads: in place of hook
    rows: hook opened dead, mail opened sent
    history: mail replaces hook
    1h
    mail: opened x1

A fallback that knows the alert gets its end, and no updates
    mail backs hook, hook refuses, match, send, match, 11s, resolve, 11s
    mail: opened x1, resolved x2

An end reaches both if the receiver accepts the opening later
    mail backs hook, hook refuses | hook is down, match, 3 x 5m
    mail: opened x1
    hook works, hook forgets, requeue what hook refused, 11m, resolve, 2 x 11s
    hook: opened x1, resolved x1
    mail: opened x1, resolved x1

A route to the fallback and a copy for it are two openings, and one end
    mail backs hook, routed to hook and mail, hook refuses, match, send, resolve, 11s
    mail: opened x1, opened x1, resolved x1

The next run tries a failing receiver before it copies
    mail backs hook, rule single, hook refuses, match, send, hook works, match, 1h
    mail: opened x1
    troubles: dead_letters hook

If the receiver still fails, that run copies
    mail backs hook, rule single, hook refuses, match, send, hook is down, match, 1h
    mail: opened x1, opened x1
    troubles: dead_letters hook, receiver_failing hook

What waits is copied after `fallback_after`, and the originals still arrive late
    mail backs hook, hook is down, match by eve, send, 9m
    mail: nothing
    1m, send
    mail: opened x1
    match by bob, send, 6s
    mail: opened x1, opened x1
    resolve of eve, 6s, send
    mail: opened x1, opened x1, resolved x1
    hook works, hook forgets, 2 x 11m
    hook in any order: opened x1, opened x1, resolved x1
    mail: opened x1, opened x1, resolved x1

What was not attempted because of Retry-After is copied, after the gates
    mail backs hook, hook is busy, match, send, silence userName=amy for 3h, match by bob, match by amy, 10m, send
    mail: opened x1, opened x1
    hook: opened x1
    stopped: hook opened suppressed by silence

A fallback can have a fallback
    mail backs hook, pager backs mail, hook refuses, mail refuses, match, send
    pager: opened x1

An opening that is sent again after the end is followed by the end
    mail backs hook, hook refuses, match, send, resolve, 11s
    stopped: hook resolved suppressed by untold
    hook works, hook forgets, requeue what hook refused, 1s
    hook: opened x1, resolved x1
    mail: opened x1, resolved x1

So it is without a fallback
    hook refuses, match, send, resolve, 11s
    stopped: hook resolved suppressed by untold
    hook works, hook forgets, requeue what hook refused, 1s
    hook: opened x1, resolved x1

A fallback that got the opening gets the end, once, whatever becomes of the original
    mail backs hook, hook refuses, match, send, hook works
    drop what hook refused | with other; send dead letters to other | remove hook; routed to mail | pager backs hook
    11s, resolve, 11s
    mail: opened x1, resolved x1
    mail reads: in place of hook

So it does when a later match is silenced, or collapses in a storm
    mail backs hook, hook refuses, match, send, hook works
    silence userName=eve for 48h | hook has a storm of 1; match by bob; send
    match by eve, 11s, resolve of eve, 11s
    mail: opened x1, resolved x2
    mail reads: in place of hook

The self-alert about dead letters resolves when none is left
    mail backs hook, hook refuses, match, send
    troubles: dead_letters hook
    hook works, drop what hook refused, 1m
    troubles: nothing
    stopped: hook opened suppressed by dropped
"""

QUIET = """
The next match after a silence opens with the full count
    silence userName=eve for 5m, match 3, send, 6m, match, send
    hook: silence: 1, opened x4

A receiver that knows the alert gets decisions in spite of a silence; others do not
    match by eve, send, silence rule=cluster_deleted for 1h, match by bob, 20s
    ack of eve, ack of bob, 20s
    last of hook: status acked
    resolve of eve, resolve of bob, 20s
    hook: opened x1, updated x1, resolved x1
    last of hook: status resolved
    8h
    hook: opened x1, updated x1, resolved x1, silence: 1

And in spite of a mute interval
    hook is muted at night, match by eve, send, night lasts from 12 to 13, match by bob, 20s
    ack of eve, ack of bob, 20s, resolve of eve, resolve of bob, 20s
    hook: opened x1, updated x1, resolved x1
    8h
    hook: opened x1, updated x1, resolved x1, mute: 1

An update that waits carries the acknowledgement at its time; later matches are suppressed
    hook is muted at night, match, send, match, silence userName=eve for 1h, ack by sam, 9s
    hook: opened x1
    1s, match, 20s
    hook: opened x1, updated x2
    last of hook: acked_by sam
    stopped: hook updated suppressed by silence
    resolve, 20s
    hook: opened x1, updated x2, resolved x3

So it does when a mute interval begins
    hook is muted at night, match, send, match, night lasts from 12 to 13, ack by sam, 9s, 1s, match, 20s
    hook: opened x1, updated x2
    stopped: hook updated suppressed by mute

A silence that a person ends is summarised at once
    silence userName=eve for 9h, match, send, expire the silence, 2s
    hook: silence: 1

A silenced alert about records is only in the summary
    silence userName=eve for 1h, match, send, 2 x 2h
    hook: silence: 1

An alert that opens and is resolved during a mute interval is summarised as resolved
    night lasts from 22 to 6, hook is muted at night, at 23:00, match, send, resolve, send, 8h
    hook: mute: 1
    listed by hook: cluster_deleted by eve resolved x1

The summary of a silence waits for the end of a mute interval
    night lasts from 22 to 6, hook is muted at night, at 21:00, silence userName=eve for 2h, match, send, 3h
    hook: nothing
    7h
    hook: silence: 1

A source that is resolved, or far away in time, does not inhibit
    big inhibits small, rule big, match, resolve, rule small, match, send
    stopped: nothing
    rule big, match, wait 16m, rule small, match, send
    stopped: nothing

After the source is resolved, the next match opens with the full count
    big inhibits small, rule big, match, rule small, match, send, match, 11s, resolve of big, 1m
    hook: opened x1, resolved x1
    match, send
    hook: opened x1, resolved x1, opened x3

A receiver gets an alert once it reaches its `min_level`, with the full count
    hook wants high, rule by severity, match of low, send, match of low, 1m
    hook: nothing
    stopped: hook opened suppressed by min_level
    match of high, send
    hook: opened x3
    history: below its min_level high

A receiver that cannot change a message gets the opening with the first match after a silence
    hook is like mail, silence userName=eve for 1m, match, send, 2m, match, send
    hook: silence: 1, opened x2

A silence does not stop a retry
    hook is down, match, send, silence userName=eve for 1h, hook works, 1m
    hook: opened x1, opened x1
    rows: hook opened sent

The summary of a storm has no causes
    hook has a storm of 1, rule single, match 3, send, 10s
    hook: opened x1, storm: 2
    last of hook: causes []

An alert that a storm collapsed gets no updates and no end; one that was sent gets both
    hook has a storm of 1, match by eve, send, match by bob, send, 10s, match by bob, match by eve, 10s
    resolve of eve, resolve of bob, 5m
    hook: opened x1, storm: 1, updated x2, resolved x2

A digest has each alert of a day once, as it is then
    hook has a digest at 8, match by eve, send, resolve, match by bob, 1m, match by bob, 1m, match by amy, 1m, at 23:59, send
    hook: nothing
    8h1m
    hook: digest: 3
    listed by hook: cluster_deleted by eve resolved x1, cluster_deleted by bob open x2, cluster_deleted by amy open x1
    2d
    hook: digest: 3

Update and end after a digest are in the next one
    hook has a digest at 8, at 07:55, match, send, at 08:00, send, match, 1m, resolve, send, 1d
    hook: digest: 1, digest: 1
    listed by hook: cluster_deleted by eve resolved x2

An end after a digest is in the next one, although a later match was silenced
    hook has a digest at 8, at 07:55, match, send, at 08:00, send
    silence userName=eve for 48h, match, 1m, resolve, send, 1d
    hook: digest: 1, digest: 1
    listed by hook: cluster_deleted by eve resolved x2

An acknowledgement after a digest is in the next one
    hook has a digest at 8, match, send, 1d, ack, 11s, 1d
    hook: digest: 1, digest: 1
    listed by hook: cluster_deleted by eve acked x1

The summary of a silence waits for the digest
    hook has a digest at 8, silence userName=eve for 5m, match, send, 6m
    hook: nothing
    20h
    hook: silence: 1

A copy for a fallback waits for its digest, with the self-alert about the dead letter
    mail backs hook, mail has a digest at 8, hook refuses, match, send, send
    mail: nothing
    20h
    mail: digest: 2
"""

REMOVED = """
An opening that is sent to a receiver that knows the alert is an update
    with other, hook has a digest at 8, match, send, remove hook, send, send dead letters to other, send
    other: opened x1, updated x1

An end reaches a receiver under its new name
    match, send, hook becomes new, send, resolve, send
    rows: hook opened sent, hook resolved dead
    send dead letters to new, send
    new: resolved x1

Further matches go to the receivers of the routes, and make no dead letters
    match, send, hook becomes new, send, match, 1m, match, 1m, match, 1m
    new: opened x2, updated x3, updated x4
    rows: hook opened sent, new opened sent, new updated sent, new updated sent

An end for a receiver that did not know the alert is no second dead letter
    hook has a digest at 8, match, send, hook becomes new, send, resolve, send
    rows: hook opened dead

An end follows an opening that is sent to another receiver, although a digest was to report it
    hook has a digest at 8, match, send, resolve, hook becomes new, send, send dead letters to new, send
    new: opened x1, resolved x1

A fallback gets the end although the original was sent to another receiver
    mail backs hook, with other, hook refuses, match, send, send dead letters to other, send, hook works, resolve, 1m
    other: opened x1, resolved x1
    mail: opened x1, resolved x1

A receiver without a route gets what waits for it
    with other, hook has a digest at 8, match by bob, send, routed to other, at 23:59, 9h
    hook: digest: 1

A mute interval that is no longer configured holds nothing
    night lasts from 22 to 6, hook is muted at night, at 23:00, match, send, nights are removed, send
    hook: mute: 1
"""

TABLES = (MESSAGES, DECISIONS, ESCALATIONS, REOPENINGS, FALLBACKS, QUIET, REMOVED)


@pytest.mark.parametrize("scenario", [scenario for table in TABLES for scenario in read(table)], ids=str)
def test_receivers_get_what_the_scenario_says(desk: Desk, scenario: Scenario) -> None:
    """Each receiver gets these messages, in this order."""
    Play(desk).run(scenario)
