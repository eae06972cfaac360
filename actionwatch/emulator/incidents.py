"""The incidents that can be planted: each a small function that acts, and queues what follows, in planned time."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from actionwatch.emulator.cast import (
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
from actionwatch.emulator.habits import begin_backups
from actionwatch.emulator.life import Life
from actionwatch.emulator.state import Cluster, Person

FIREWALL_CHANGES = 6
REPAIR = timedelta(hours=1)  # a lost production cluster is built again


def key_then_cluster_deleted(life: Life) -> None:
    """An API key is made, and minutes later the same user deletes a cluster."""
    who, cluster = life.pick_person(PLATFORM, DEVELOPER, is_awake=True), _victim(life)
    account = life.account_of(cluster)
    life.note("key_then_cluster_deleted", who, ("ACCOUNT_GENERATE_API_KEY", "DELETE_CLUSTER"), cluster)
    life.act("ACCOUNT_GENERATE_API_KEY", who.user_name, f"Generated API key tmp-{life.chance.randrange(100)}", account)
    life.after(timedelta(minutes=4), lambda life: _delete(life, who.user_name, cluster))


def firewall_burst(life: Life) -> None:
    """One user changes firewalls six times within minutes, and opens one to the whole internet."""
    who, cluster = life.pick_person(PLATFORM, DBA, is_awake=True), _victim(life)
    opened = life.chance.randrange(1, FIREWALL_CHANGES)
    life.note("firewall_burst", who, ("CHANGE_CLUSTER_FIREWALL_RULES",) * FIREWALL_CHANGES, cluster)
    for number in range(FIREWALL_CHANGES):
        source = "0.0.0.0/0" if number == opened else f"198.51.100.{life.chance.randrange(1, 250)}/32"
        _later(
            life,
            50 * number,
            "CHANGE_CLUSTER_FIREWALL_RULES",
            who.user_name,
            f"Added {source} to the firewall of",
            cluster,
        )


def backup_schedule_then_cluster_deleted(life: Life) -> None:
    """The backup schedule goes, then the cluster: nothing is left to restore."""
    who, cluster = life.pick_person(DBA, PLATFORM, is_awake=True), _victim(life)
    kinds = ("DELETE_BACKUP_SCHEDULE", "REQUEST_CLUSTER_DELETE", "DELETE_CLUSTER")
    life.note("backup_schedule_then_cluster_deleted", who, kinds, cluster)
    _later(life, 0, kinds[0], who.user_name, "Removed the backup schedule of", cluster)
    _later(life, 180, kinds[1], who.user_name, "Requested the deletion of", cluster)
    life.after(timedelta(minutes=6), lambda life: _delete(life, who.user_name, cluster))


def first_admin_action(life: Life) -> None:
    """Somebody of the vendor's staff whom nobody has seen before changes who may reach a cluster."""
    who, cluster = newcomer(life.chance, life.organisation.people), _victim(life)
    life.organisation.people.append(who)
    life.note("first_admin_action", who, ("ADMIN_SET_ACCESS_LEVEL",), cluster)
    _later(life, 0, "ADMIN_SET_ACCESS_LEVEL", who.user_name, "Set access level FULL on", cluster)


def off_hours_key_revocation(life: Life) -> None:
    """An API key is revoked by somebody for whom it is night right now."""
    home = life.organisation.time_zone
    zone = home if life.is_night(home) else off_hours_zone(life.stamp)
    who = life.pick_person(SECURITY, PLATFORM, DBA, DEVELOPER, in_zone=zone)
    account = life.chance.choice(life.organisation.accounts)
    life.note("off_hours_key_revocation", who, ("ACCOUNT_REVOKE_API_KEY",), account)
    life.act("ACCOUNT_REVOKE_API_KEY", who.user_name, f"Revoked the monitoring API key of {account.name}", account)


def account_unlinked(life: Life) -> None:
    """An account leaves the organisation, and with it all sight of it; if no sandbox is left, one is linked first."""
    who = life.pick_person(SECURITY, PLATFORM, is_awake=True)
    has_sandbox = any(account.name.startswith(SANDBOX) for account in life.organisation.accounts)
    if not has_sandbox:
        _link_account(life, who.user_name)
    life.after(timedelta(minutes=0 if has_sandbox else 20), lambda life: _unlink_account(life, who))


INCIDENTS: Final[dict[str, Callable[[Life], None]]] = {
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


def recur(life: Life, every: timedelta) -> None:
    """Plant one incident after another for ever, in an order drawn again each round, `every` on average."""
    order: list[str] = []

    def strike(life: Life) -> None:
        if not order:
            order.extend(life.chance.sample(sorted(INCIDENTS), len(INCIDENTS)))
        INCIDENTS[order.pop()](life)
        life.after(every * life.chance.uniform(0.5, 1.5), strike)

    life.after(every * life.chance.uniform(0.5, 1.5), strike)


def _victim(life: Life) -> Cluster:
    """Choose a cluster that matters; if all are gone, build one."""
    cluster = life.pick_cluster(PROD) or life.pick_cluster(STAGING)
    return cluster or life.organisation.add_cluster("rebuilt-prod-kafka", account=life.organisation.accounts[0])


def _later(life: Life, seconds: int, kind: str, user_name: str, text: str, cluster: Cluster) -> None:
    life.after(timedelta(seconds=seconds), lambda life: life.act(kind, user_name, f"{text} {cluster.name}", cluster))


def _delete(life: Life, user_name: str, cluster: Cluster) -> None:
    life.act("DELETE_CLUSTER", user_name, f"Deleted cluster {cluster.name}", cluster)
    if cluster.stage != CI:
        life.after(REPAIR, lambda life: _rebuild(life, cluster))


def _rebuild(life: Life, lost: Cluster) -> None:
    if (account := life.account_of(lost)) is None:
        return
    who = life.pick_person(PLATFORM, is_awake=True)
    cluster = life.organisation.add_cluster(lost.name, account=account, product=lost.product, stage=lost.stage)
    life.act("CREATE_CLUSTER", who.user_name, f"Created cluster {cluster.name}", cluster)
    begin_backups(life, cluster, life.planned)


def _unlink_account(life: Life, who: Person) -> None:
    """Unlink the newest account; the sandboxes come after those that the organisation lives by."""
    account = life.organisation.accounts[-1]
    life.note("account_unlinked", who, ("UNLINK_ACCOUNT",), account)
    life.act("UNLINK_ACCOUNT", who.user_name, f"Unlinked account {account.name}", account)


def _link_account(life: Life, user_name: str) -> None:
    name = f"{SANDBOX}-{life.chance.randrange(100, 1000)}"
    account = life.organisation.link_account(name, user_name, at=life.stamp)
    if account is not None:
        life.organisation.add_cluster(f"{name}-kafka", account=account, product="KAFKA", stage=STAGING)
