"""The linked accounts of an organisation and their clusters. Nothing here writes to the log."""

import random
import uuid
from dataclasses import dataclass
from threading import RLock

from actionwatch.emulator.log import EntityRef


@dataclass(frozen=True, slots=True)
class Account(EntityRef):
    support_contacts: str = ""
    is_pci_compliant: bool = False


@dataclass(frozen=True, slots=True)
class Cluster(EntityRef):
    product: str  # KAFKA, CASSANDRA, POSTGRESQL, …
    stage: str  # prod, staging or ci
    account_id: str


class Inventory:
    """The accounts and clusters of one organisation, whose lock it shares. All methods are thread-safe."""

    def __init__(self, seed: int, lock: RLock) -> None:
        self._lock = lock
        self._accounts: dict[str, Account] = {}
        self._clusters: dict[str, Cluster] = {}
        self._named_accounts: dict[str, EntityRef] = {}  # all there ever were, by id and by name: the newest of a name
        self._named_clusters: dict[str, EntityRef] = {}
        self._random = random.Random(seed)

    @property
    def accounts(self) -> list[Account]:
        """The linked accounts, oldest first."""
        with self._lock:
            return list(self._accounts.values())

    @property
    def clusters(self) -> list[Cluster]:
        """The running clusters of the linked accounts."""
        with self._lock:
            return [cluster for cluster in self._clusters.values() if cluster.account_id in self._accounts]

    def add_account(self, name: str, *, support_contacts: str = "", is_pci_compliant: bool = False) -> Account:
        """Link an account without a log entry."""
        with self._lock:
            account = Account(self.new_id(), name, support_contacts, is_pci_compliant)
            self._accounts[account.id] = account
            self._named_accounts |= dict.fromkeys((account.id, name), account)
            return account

    def remove_account(self, account_id: str) -> Account | None:
        """Unlink an account without a log entry; None if it is not linked."""
        with self._lock:
            return self._accounts.pop(account_id, None)

    def add_cluster(self, name: str, *, account: Account, product: str = "KAFKA", stage: str = "prod") -> Cluster:
        """Start a cluster without a log entry."""
        with self._lock:
            cluster = Cluster(self.new_id(), name, product, stage, account.id)
            self._clusters[cluster.id] = cluster
            self._named_clusters |= dict.fromkeys((cluster.id, name), cluster)
            return cluster

    def remove_cluster(self, cluster_id: str) -> None:
        """Stop a cluster without a log entry."""
        with self._lock:
            self._clusters.pop(cluster_id, None)

    def find_account(self, id_or_name: str) -> Account | None:
        """Return the account with an id or a name; None if there is none."""
        return next((one for one in self.accounts if id_or_name in (one.id, one.name)), None)

    def find_cluster(self, id_or_name: str) -> Cluster | None:
        """Return the running cluster with an id or a name; None if there is none."""
        return next((one for one in self.clusters if id_or_name in (one.id, one.name)), None)

    def name_account(self, id_or_name: str) -> EntityRef:
        """Return the account with an id or a name, also an unlinked one. A new name gets an id, and keeps it."""
        return self.find_account(id_or_name) or self._name(self._named_accounts, id_or_name)

    def name_cluster(self, id_or_name: str) -> EntityRef:
        """Return the cluster with an id or a name, also a deleted one. A new name gets an id, and keeps it."""
        return self.find_cluster(id_or_name) or self._name(self._named_clusters, id_or_name)

    def _name(self, known: dict[str, EntityRef], id_or_name: str) -> EntityRef:
        with self._lock:
            if id_or_name not in known:
                known[id_or_name] = EntityRef(self.new_id(), id_or_name)
            return known[id_or_name]

    def new_id(self) -> str:
        """Return the next UUID; the same seed produces the same UUIDs."""
        with self._lock:
            return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
