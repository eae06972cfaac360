"""The 81 action kinds in the documentation of the API, with scope and operation.

Independent of the catalogue in `instaclustr/`, so that tests find a misspelt kind in either. The vendor does not publish the
operations, so these are the most likely ones.
"""

from typing import Final

ORGANISATION: Final = "ORGANISATION"
ACCOUNT: Final = "ACCOUNT"
CLUSTER: Final = "CLUSTER"

KINDS: Final[dict[str, tuple[str, str]]] = {
    # Organization, accounts, billing
    "CREATE_ORGANISATION": ("ORG", "CREATE"),
    "LINK_ACCOUNT": ("ORG", "CREATE"),
    "UNLINK_ACCOUNT": ("ORG", "DELETE"),
    "MIGRATE_CLUSTER": ("ORG", "UPDATE"),
    "ORGANISATION_UPDATE_BILLING_DETAILS": ("ORG", "UPDATE"),
    "SYNC_BILLING_TO_ACCOUNT": ("ORG", "UPDATE"),
    # Organization users, identity provider, sign-up controls
    "ORGANISATION_SET_IDP_DETAILS": ("ORG", "UPDATE"),
    "SYNC_IDP_TO_ACCOUNT": ("ORG", "UPDATE"),
    "UPDATE_SSO_LOGIN_TYPE": ("ACCOUNT", "UPDATE"),
    "INVITE_USER": ("ORG", "CREATE"),
    "REVOKE_USER_INVITE": ("ORG", "DELETE"),
    "LINK_USER": ("ORG", "CREATE"),
    "UNLINK_USER": ("ORG", "DELETE"),
    "CREATE_SIGNUP_BLOCK": ("ORG", "CREATE"),
    "DELETE_SIGNUP_BLOCK": ("ORG", "DELETE"),
    # Account users and service / SCIM users
    "ACCOUNT_INVITE_USER": ("ACCOUNT", "CREATE"),
    "ACCOUNT_ACCEPT_INVITATION": ("ACCOUNT", "UPDATE"),
    "ACCOUNT_REVOKE_INVITATION": ("ACCOUNT", "DELETE"),
    "ACCOUNT_CREATE_LINK": ("ACCOUNT", "CREATE"),
    "ACCOUNT_MODIFY_LINK": ("ACCOUNT", "UPDATE"),
    "ACCOUNT_REVOKE_LINK": ("ACCOUNT", "DELETE"),
    "CREATE_SERVICE_USER": ("ACCOUNT", "CREATE"),
    "DEACTIVATE_SERVICE_USER": ("ACCOUNT", "UPDATE"),
    "REACTIVATE_SERVICE_USER": ("ACCOUNT", "UPDATE"),
    "DEACTIVATE_SCIM_USER": ("ACCOUNT", "UPDATE"),
    "REACTIVATE_SCIM_USER": ("ACCOUNT", "UPDATE"),
    "DEACTIVATE_USER": ("ACCOUNT", "UPDATE"),
    # API keys and encryption keys
    "ORGANISATION_GENERATE_API_KEY": ("ORG", "CREATE"),
    "ORGANISATION_REVOKE_API_KEY": ("ORG", "DELETE"),
    "ACCOUNT_GENERATE_API_KEY": ("ACCOUNT", "CREATE"),
    "ACCOUNT_REVOKE_API_KEY": ("ACCOUNT", "DELETE"),
    "ACCOUNT_ADD_ENCRYPTION_KEY": ("ACCOUNT", "CREATE"),
    "ACCOUNT_UPDATE_REGIONS_ENCRYPTION_KEY": ("ACCOUNT", "UPDATE"),
    "ACCOUNT_REVOKE_ENCRYPTION_KEY": ("ACCOUNT", "DELETE"),
    # Cluster lifecycle and operations
    "CREATE_CLUSTER": ("ACCOUNT", "CREATE"),
    "REQUEST_CLUSTER_DELETE": ("ACCOUNT", "DELETE"),
    "DELETE_CLUSTER": ("ACCOUNT", "DELETE"),
    "ADD_NODE": ("ACCOUNT", "CREATE"),
    "ADD_DATA_CENTRE": ("ACCOUNT", "CREATE"),
    "CHANGE_CLUSTER_SETTINGS": ("ACCOUNT", "UPDATE"),
    "RESIZE_CDC": ("ACCOUNT", "UPDATE"),
    "CANCEL_RESIZE_CDC": ("ACCOUNT", "UPDATE"),
    "RETRY_RESIZE_CDC": ("ACCOUNT", "UPDATE"),
    "RESTART_BUNDLE": ("ACCOUNT", "UPDATE"),
    "RECONFIGURE_BUNDLE": ("ACCOUNT", "UPDATE"),
    "RELOAD_BUNDLE": ("ACCOUNT", "UPDATE"),
    "MIGRATE_FROM_AZURE_TO_AZUREAZ": ("ACCOUNT", "UPDATE"),
    "MANAGED_IDENTITY_MIGRATION_ENABLE": ("ACCOUNT", "UPDATE"),
    "MANAGED_IDENTITY_MIGRATION_DISABLE": ("ACCOUNT", "UPDATE"),
    # Network
    "CHANGE_CLUSTER_FIREWALL_RULES": ("ACCOUNT", "UPDATE"),
    "CREATE_VPC_PEERING_REQUEST": ("ACCOUNT", "CREATE"),
    "EDIT_VPC_PEERING_REQUEST": ("ACCOUNT", "UPDATE"),
    "DELETE_VPC_PEERING_REQUEST": ("ACCOUNT", "DELETE"),
    "PRIVATE_LINK_MIGRATION_ENABLE": ("ACCOUNT", "UPDATE"),
    "PRIVATE_LINK_MIGRATION_DISABLE": ("ACCOUNT", "UPDATE"),
    # Kafka
    "CREATE_KAFKA_TOPIC": ("ACCOUNT", "CREATE"),
    "DISPLAY_KAFKA_TOPIC_CONFIG": ("ACCOUNT", "READ"),
    "DESCRIBE_KAFKA_TOPIC": ("ACCOUNT", "READ"),
    "EDIT_KAFKA_TOPIC": ("ACCOUNT", "UPDATE"),
    "DELETE_KAFKA_TOPIC": ("ACCOUNT", "DELETE"),
    "LIST_KAFKA_ACLS": ("ACCOUNT", "READ"),
    "CREATE_KAFKA_ACLS": ("ACCOUNT", "CREATE"),
    "DELETE_KAFKA_ACLS": ("ACCOUNT", "DELETE"),
    "ENABLE_KAFKA_TIERED_STORAGE": ("ACCOUNT", "UPDATE"),
    # Bundle (database) users
    "LIST_BUNDLE_USERS": ("ACCOUNT", "READ"),
    "CREATE_BUNDLE_USER": ("ACCOUNT", "CREATE"),
    "EDIT_BUNDLE_USER": ("ACCOUNT", "UPDATE"),
    "DELETE_BUNDLE_USER": ("ACCOUNT", "DELETE"),
    # Backup and restore
    "BACKUP": ("ACCOUNT", "CREATE"),
    "RESTORE": ("ACCOUNT", "CREATE"),
    "CREATE_BACKUP_SCHEDULE": ("ACCOUNT", "CREATE"),
    "DELETE_BACKUP_SCHEDULE": ("ACCOUNT", "DELETE"),
    # Admin operations (ADMIN_*
    "ADMIN_SET_ACCESS_LEVEL": ("ACCOUNT", "UPDATE"),
    "ADMIN_ADD_CONFIG_OVERRIDE": ("ACCOUNT", "CREATE"),
    "ADMIN_DELETE_CONFIG_OVERRIDE": ("ACCOUNT", "DELETE"),
    "ADMIN_ADD_KAFKA_LISTENER": ("ACCOUNT", "CREATE"),
    "ADMIN_DELETE_KAFKA_LISTENER": ("ACCOUNT", "DELETE"),
    "ADMIN_ADD_KAFKA_PRIVATE_LINK_LISTENER": ("ACCOUNT", "CREATE"),
    "ADMIN_DELETE_KAFKA_PRIVATE_LINK_LISTENER": ("ACCOUNT", "DELETE"),
    "ADMIN_ADD_KAFKA_PRIVATE_LINK_IAM_ROLE": ("ACCOUNT", "CREATE"),
    "ADMIN_DELETE_KAFKA_PRIVATE_LINK_IAM_ROLE": ("ACCOUNT", "DELETE"),
}

OPERATIONS: Final = frozenset(
    [
        *(f"ACCOUNT_LEVEL_USER_ACTIONS_{verb}" for verb in ("CREATE", "UPDATE", "READ", "DELETE")),
        *(f"ORG_LEVEL_USER_ACTIONS_{verb}" for verb in ("CREATE", "UPDATE", "DELETE")),  # no READ in the documentation
    ]
)


def domain_type_of(kind: str, *, has_cluster: bool) -> str:
    """Say what an action of this kind is about; an undocumented kind counts as the account's."""
    scope, _ = KINDS.get(kind, ("ACCOUNT", ""))
    if scope == "ORG":
        return ORGANISATION
    return CLUSTER if has_cluster else ACCOUNT


def operation_of(kind: str) -> str | None:
    """Return the documented value of `crudOperations` that covers this kind, or None for an undocumented kind."""
    if kind not in KINDS:
        return None
    scope, verb = KINDS[kind]
    return f"{scope}_LEVEL_USER_ACTIONS_{verb}"
