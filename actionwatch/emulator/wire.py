"""Convert records and accounts into the JSON of the API. Pure."""

from datetime import datetime

from actionwatch.emulator.inventory import Account
from actionwatch.emulator.log import Action, LogPage
from actionwatch.emulator.state import Organisation

Json = dict[str, object]


def record(action: Action, organisation: Organisation) -> Json:
    """Return an action as the API sends it; a missing cluster or account is null."""
    account, cluster = action.account, action.cluster
    return {
        "action": action.kind,
        "domainType": action.domain_type,
        "timestamp": time(action.at),
        "userName": action.user_name,
        "description": action.description,
        "organisationId": organisation.id,
        "organisationName": organisation.name,
        "accountId": account and account.id,
        "accountName": account and account.name,
        "clusterId": cluster and cluster.id,
        "clusterName": cluster and cluster.name,
    }


def time(moment: datetime) -> str:
    """Return a UTC time as the API sends it."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(page: LogPage, offset: int, organisation: Organisation) -> list[Json]:
    """Return a page as documented: a list of one envelope."""
    whole: Json = {
        "totalResults": page.total,
        "startIndex": offset,
        "itemsPerPage": len(page.actions),
        "resources": [record(action, organisation) for action in page.actions],
    }
    if page.counts is not None:
        whole["actionCounts"] = page.counts
    return [whole]


def account(one: Account) -> Json:
    return {
        "accountId": one.id,
        "accountName": one.name,
        "accountType": "INSTACLUSTR",
        "isAccountPciCompliant": one.is_pci_compliant,
        "accountHasBillingDetails": True,
        "isEnabledIdpSyncedToOrganisation": False,
        "isAccountInvoiced": True,
        "isBillingSyncedToOrganisation": True,
        "accountSupportContacts": one.support_contacts,
        "accountEmergencyContacts": one.support_contacts,
        "accountMaintenanceContacts": one.support_contacts,
        "areOrgAndAccountSharedProviderAccountsActivelyUsed": False,
    }


def unlinked(one: Account) -> list[Json]:
    """Return the response to unlinking an account, which is then an organisation itself."""
    organisation: Json = {
        "id": one.id,
        "name": one.name,
        "supportContacts": one.support_contacts,
        "emergencyContacts": one.support_contacts,
        "maintenanceContacts": one.support_contacts,
        "blockedEmailDomains": [],
        "features": {},
        "accountCreationBlocked": False,
        "blockScimUserRevokeNotification": False,
    }
    return [organisation]


def error(status: int, message: str) -> Json:
    """Return an error body in the most likely form for this API."""
    return {"status": status, "message": message, "errorDetails": None, "code": status, "link": None}
