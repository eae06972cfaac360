"""`store prune`, and the retention of those who run only `run --once`."""

from __future__ import annotations

import contextlib

from sqlalchemy import text

from actionwatch.base.clock import to_micros, utc_now
from tests.integration.cli.conftest import BROKEN_RULE, Desk

YEARS = 5 * 365 * 86_400 * 1_000_000  # microseconds: longer than any retention of the tests


def age_receipts(desk: Desk) -> int:
    """Make each receipt years older. Return how many there are."""
    desk.change("UPDATE receipt SET starts_at = starts_at - :by, ends_at = ends_at - :by", by=YEARS)
    return count_receipts(desk)


def count_receipts(desk: Desk) -> int:
    """Count the receipts."""
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        return int(connection.execute(text("SELECT count(*) FROM receipt")).scalar_one())


def test_dry_run_counts_what_prune_deletes(desk: Desk) -> None:
    """`store prune --dry-run` deletes nothing and prints the counts of the `store prune` that follows it."""
    assert desk.call("run", "--once").status == 0
    count = age_receipts(desk)
    assert count > 0
    foreseen = desk.call("store", "prune", "--dry-run", "-o", "json")
    assert foreseen.json["dry_run"] is True
    assert foreseen.json["deleted"]["receipts"] == count_receipts(desk) == count
    assert desk.call("store", "prune", "--dry-run").out == (
        f"what      rows\nreceipts  {count}\nnothing was deleted: these rows would be\n"
    )
    done = desk.call("store", "prune", "-o", "json")
    assert done.json == {"dry_run": False, "deleted": foreseen.json["deleted"]}
    assert count_receipts(desk) == 0
    assert desk.call("store", "prune").out.startswith("nothing to delete: ")


def test_dry_run_waits_for_no_writer(desk: Desk) -> None:
    """`store prune --dry-run` takes no lock: it ends while a service writes, and that one does not wait for it."""
    assert desk.call("run", "--once").status == 0
    count = age_receipts(desk)
    with contextlib.closing(desk.open_store()) as database, database.write() as connection:
        for table in ("receipt", "record_count"):
            connection.execute(text(f"UPDATE {table} SET source = source"))
        foreseen = desk.call("store", "prune", "--dry-run", "-o", "json")
    assert (foreseen.status, foreseen.json["deleted"]["receipts"]) == (0, count)
    assert count_receipts(desk) == count


def test_prune_is_refused_while_a_rule_is_broken(desk: Desk) -> None:
    """Nobody knows which records a broken rule needs: nothing is deleted until it loads."""
    assert desk.call("run", "--once").status == 0
    count = age_receipts(desk)
    (desk.folder / "rules" / "broken.yml").write_text(BROKEN_RULE)
    refused = desk.call("store", "prune")
    assert (refused.status, count_receipts(desk)) == (2, count)
    assert "broken.yml:" in refused.err


def test_run_once_applies_the_retention_in_the_first_round_of_a_day(desk: Desk) -> None:
    """`run --once` prunes once a day, so that the store of those who run nothing else does not grow for ever."""
    assert desk.call("run", "--once").status == 0
    old = age_receipts(desk)
    today = utc_now().date()
    assert desk.call("run", "--once").status == 0
    assert count_receipts(desk) >= old or utc_now().date() > today
    desk.change("UPDATE poll SET last_poll_at = last_poll_at - :by", by=86_400_000_000)
    age_receipts(desk)
    assert desk.call("run", "--once").status == 0
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        ages = connection.execute(text("SELECT ends_at FROM receipt")).scalars().all()
    assert ages
    assert all(at > to_micros(utc_now()) - YEARS for at in ages)


def test_poll_that_cannot_be_read_ends_no_round(desk: Desk) -> None:
    """A damaged row of a poll fails the step that needs it; the other steps of the round run, the retention too."""
    assert desk.call("run", "--once").status == 0
    age_receipts(desk)
    desk.change("UPDATE poll SET last_poll_at = last_poll_at + :by", by=10**18)
    done = desk.call("run", "--once")
    assert done.status == 1
    assert "clock: the store is damaged" in done.err
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        ages = connection.execute(text("SELECT ends_at FROM receipt")).scalars().all()
    assert all(at > to_micros(utc_now()) - YEARS for at in ages)
    assert desk.call("run", "--once").status == 0  # the poll has replaced the row
