"""The incidents: each function performs an action and queues the following ones, in planned time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from actionwatch.emulator.habits import schedule_backups
from actionwatch.emulator.inventory import Account, Cluster
from actionwatch.emulator.sample import (
    CI,
    DBA,
    DEVELOPER,
    PLATFORM,
    PROD,
    SANDBOX,
    SECURITY,
    STAGING,
    newcomer,
    off_hours_zone,
)
from actionwatch.emulator.simulation import Simulation
from actionwatch.emulator.state import Person

_FIREWALL_CHANGES = 6
_REPAIR = timedelta(hours=1)  # then a deleted cluster is created again


def key_then_cluster_deleted(simulation: Simulation) -> None:
    """A user creates an API key, and minutes later deletes a cluster."""
    who, cluster = simulation.pick_person(PLATFORM, DEVELOPER, is_awake=True), _victim(simulation)
    account = simulation.organisation.inventory.find_account(cluster.account_id)
    simulation.note_incident("key_then_cluster_deleted", who, ("ACCOUNT_GENERATE_API_KEY", "DELETE_CLUSTER"), cluster)
    text = f"Generated API key tmp-{simulation.chance.randrange(100)}"
    simulation.act("ACCOUNT_GENERATE_API_KEY", who.user_name, text, account)
    simulation.after(timedelta(minutes=4), lambda simulation: _delete(simulation, who.user_name, cluster))


def firewall_burst(simulation: Simulation) -> None:
    """A user changes firewall rules six times within minutes, and opens the cluster to the internet."""
    who, cluster = simulation.pick_person(PLATFORM, DBA, is_awake=True), _victim(simulation)
    kind, opened = "CHANGE_CLUSTER_FIREWALL_RULES", simulation.chance.randrange(1, _FIREWALL_CHANGES)
    simulation.note_incident("firewall_burst", who, (kind,) * _FIREWALL_CHANGES, cluster)
    for number in range(_FIREWALL_CHANGES):
        source = "0.0.0.0/0" if number == opened else f"198.51.100.{simulation.chance.randrange(1, 250)}/32"
        _later(simulation, 50 * number, kind, who.user_name, f"Added {source} to the firewall of", cluster)


def backup_schedule_then_cluster_deleted(simulation: Simulation) -> None:
    """A user removes the backup schedule of a cluster, then the cluster."""
    who, cluster = simulation.pick_person(DBA, PLATFORM, is_awake=True), _victim(simulation)
    kinds = ("DELETE_BACKUP_SCHEDULE", "REQUEST_CLUSTER_DELETE", "DELETE_CLUSTER")
    simulation.note_incident("backup_schedule_then_cluster_deleted", who, kinds, cluster)
    _later(simulation, 0, kinds[0], who.user_name, "Removed the backup schedule of", cluster)
    _later(simulation, 180, kinds[1], who.user_name, "Requested the deletion of", cluster)
    simulation.after(timedelta(minutes=6), lambda simulation: _delete(simulation, who.user_name, cluster))


def first_admin_action(simulation: Simulation) -> None:
    """A new member of the vendor's staff changes the access to a cluster."""
    who, cluster = newcomer(simulation.chance, simulation.organisation.people), _victim(simulation)
    simulation.organisation.people.append(who)
    simulation.note_incident("first_admin_action", who, ("ADMIN_SET_ACCESS_LEVEL",), cluster)
    _later(simulation, 0, "ADMIN_SET_ACCESS_LEVEL", who.user_name, "Set access level FULL on", cluster)


def off_hours_key_revocation(simulation: Simulation) -> None:
    """A user revokes an API key during the night of their time zone."""
    home = simulation.organisation.time_zone
    zone = home if simulation.is_night(home) else off_hours_zone(simulation.stamp)
    who = simulation.pick_person(SECURITY, PLATFORM, DBA, DEVELOPER, in_zone=zone)
    account = simulation.pick_account() or _oldest_account(simulation)
    simulation.note_incident("off_hours_key_revocation", who, ("ACCOUNT_REVOKE_API_KEY",), account)
    text = f"Revoked the monitoring API key of {account.name}"
    simulation.act("ACCOUNT_REVOKE_API_KEY", who.user_name, text, account)


def account_unlinked(simulation: Simulation) -> None:
    """A user unlinks an account, whose actions are then invisible. If there is no sandbox account, one is linked first."""
    who = simulation.pick_person(SECURITY, PLATFORM, is_awake=True)
    has_sandbox = _sandbox(simulation) is not None
    if not has_sandbox:
        name = f"{SANDBOX}-{simulation.chance.randrange(100, 1000)}"
        if account := simulation.organisation.link_account(name, who.user_name, at=simulation.stamp):
            simulation.organisation.inventory.add_cluster(f"{name}-kafka", account=account, stage=STAGING)
    simulation.after(timedelta(minutes=0 if has_sandbox else 20), lambda simulation: _unlink_account(simulation, who))


INCIDENTS: Final[dict[str, Callable[[Simulation], None]]] = {
    incident.__name__: incident
    for incident in (
        key_then_cluster_deleted,
        firewall_burst,
        backup_schedule_then_cluster_deleted,
        first_admin_action,
        off_hours_key_revocation,
        account_unlinked,
    )
}


def recur(simulation: Simulation, every: timedelta) -> None:
    """Start one incident after another forever, with a mean interval of `every`, in a new random order each round."""
    order: list[str] = []

    def strike(simulation: Simulation) -> None:
        if not order:
            order.extend(simulation.chance.sample(sorted(INCIDENTS), len(INCIDENTS)))
        INCIDENTS[order.pop()](simulation)
        simulation.after(every * simulation.chance.uniform(0.5, 1.5), strike)

    simulation.after(every * simulation.chance.uniform(0.5, 1.5), strike)


def _victim(simulation: Simulation) -> Cluster:
    """Choose a production or staging cluster; create one if there is none."""
    if cluster := simulation.pick_cluster(PROD) or simulation.pick_cluster(STAGING):
        return cluster
    return simulation.organisation.inventory.add_cluster("rebuilt-prod-kafka", account=_oldest_account(simulation))


def _oldest_account(simulation: Simulation) -> Account:
    """Return the account that is linked for the longest time; link one if a client unlinked all."""
    accounts = simulation.organisation.inventory.accounts
    return accounts[0] if accounts else simulation.organisation.inventory.add_account("rebuilt")


def _sandbox(simulation: Simulation) -> Account | None:
    accounts = simulation.organisation.inventory.accounts
    return next((account for account in reversed(accounts) if account.name.startswith(SANDBOX)), None)


def _later(simulation: Simulation, seconds: int, kind: str, user_name: str, text: str, cluster: Cluster) -> None:
    def act(simulation: Simulation) -> None:
        simulation.act(kind, user_name, f"{text} {cluster.name}", cluster)

    simulation.after(timedelta(seconds=seconds), act)


def _delete(simulation: Simulation, user_name: str, cluster: Cluster) -> None:
    simulation.act("DELETE_CLUSTER", user_name, f"Deleted cluster {cluster.name}", cluster)
    if cluster.stage != CI:
        simulation.after(_REPAIR, lambda simulation: _rebuild(simulation, cluster))


def _rebuild(simulation: Simulation, lost: Cluster) -> None:
    if (account := simulation.organisation.inventory.find_account(lost.account_id)) is None:
        return
    who = simulation.pick_person(PLATFORM, is_awake=True)
    cluster = simulation.organisation.inventory.add_cluster(
        lost.name, account=account, product=lost.product, stage=lost.stage
    )
    simulation.act("CREATE_CLUSTER", who.user_name, f"Created cluster {cluster.name}", cluster)
    schedule_backups(simulation, cluster, simulation.planned)


def _unlink_account(simulation: Simulation, who: Person) -> None:
    """Unlink the newest sandbox account, unless a client did."""
    if account := _sandbox(simulation):
        simulation.note_incident("account_unlinked", who, ("UNLINK_ACCOUNT",), account)
        simulation.act("UNLINK_ACCOUNT", who.user_name, f"Unlinked account {account.name}", account)
