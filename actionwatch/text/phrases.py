"""Say in English what a record is about: the action in the past tense, and the names of fields as words.

The texts of rules and the templates of messages use it. The kind follows the sentence, because people search for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# The action of each kind, and the word between it and the name of the cluster or account. Without a word, the name follows
# the noun: "deleted cluster orders-prod".
_DEEDS: Mapping[str, tuple[str, str]] = {
    "CREATE_ORGANISATION": ("created an organisation", "in"),
    "LINK_ACCOUNT": ("linked an account", ""),
    "UNLINK_ACCOUNT": ("unlinked an account", ""),
    "MIGRATE_CLUSTER": ("moved a cluster", ""),
    "ORGANISATION_UPDATE_BILLING_DETAILS": ("changed the billing details of the organisation", "in"),
    "SYNC_BILLING_TO_ACCOUNT": ("copied the billing details to an account", ""),
    "ORGANISATION_SET_IDP_DETAILS": ("changed the identity provider of the organisation", "in"),
    "SYNC_IDP_TO_ACCOUNT": ("copied the identity provider to an account", ""),
    "UPDATE_SSO_LOGIN_TYPE": ("changed how users sign in", "to"),
    "INVITE_USER": ("invited a user to the organisation", "in"),
    "REVOKE_USER_INVITE": ("revoked an invitation to the organisation", "in"),
    "LINK_USER": ("linked a user to the organisation", "in"),
    "UNLINK_USER": ("unlinked a user from the organisation", "in"),
    "CREATE_SIGNUP_BLOCK": ("created a sign-up block", "in"),
    "DELETE_SIGNUP_BLOCK": ("deleted a sign-up block", "in"),
    "ACCOUNT_INVITE_USER": ("invited a user", "to"),
    "ACCOUNT_ACCEPT_INVITATION": ("accepted an invitation", "to"),
    "ACCOUNT_REVOKE_INVITATION": ("revoked an invitation", "to"),
    "ACCOUNT_CREATE_LINK": ("gave a user a role", "in"),
    "ACCOUNT_MODIFY_LINK": ("changed the role of a user", "in"),
    "ACCOUNT_REVOKE_LINK": ("removed the role of a user", "in"),
    "CREATE_SERVICE_USER": ("created a service user", "in"),
    "DEACTIVATE_SERVICE_USER": ("deactivated a service user", "in"),
    "REACTIVATE_SERVICE_USER": ("reactivated a service user", "in"),
    "DEACTIVATE_SCIM_USER": ("deactivated a SCIM user", "in"),
    "REACTIVATE_SCIM_USER": ("reactivated a SCIM user", "in"),
    "DEACTIVATE_USER": ("deactivated a user", "in"),
    "ORGANISATION_GENERATE_API_KEY": ("generated an API key of the organisation", "in"),
    "ORGANISATION_REVOKE_API_KEY": ("revoked an API key of the organisation", "in"),
    "ACCOUNT_GENERATE_API_KEY": ("generated an API key", "for"),
    "ACCOUNT_REVOKE_API_KEY": ("revoked an API key", "of"),
    "ACCOUNT_ADD_ENCRYPTION_KEY": ("added an encryption key", "to"),
    "ACCOUNT_UPDATE_REGIONS_ENCRYPTION_KEY": ("changed the regions of an encryption key", "of"),
    "ACCOUNT_REVOKE_ENCRYPTION_KEY": ("revoked an encryption key", "of"),
    "CREATE_CLUSTER": ("created a cluster", ""),
    "REQUEST_CLUSTER_DELETE": ("requested the deletion of a cluster", ""),
    "DELETE_CLUSTER": ("deleted a cluster", ""),
    "ADD_NODE": ("added a node", "to"),
    "ADD_DATA_CENTRE": ("added a data centre", "to"),
    "CHANGE_CLUSTER_SETTINGS": ("changed the settings of a cluster", ""),
    "RESIZE_CDC": ("resized a data centre", "of"),
    "CANCEL_RESIZE_CDC": ("cancelled the resize of a data centre", "of"),
    "RETRY_RESIZE_CDC": ("retried the resize of a data centre", "of"),
    "RESTART_BUNDLE": ("restarted a service", "of"),
    "RECONFIGURE_BUNDLE": ("reconfigured a service", "of"),
    "RELOAD_BUNDLE": ("reloaded a service", "of"),
    "MIGRATE_FROM_AZURE_TO_AZUREAZ": ("changed to Azure availability zones", "on"),
    "MANAGED_IDENTITY_MIGRATION_ENABLE": ("enabled the migration to a managed identity", "for"),
    "MANAGED_IDENTITY_MIGRATION_DISABLE": ("disabled the migration to a managed identity", "for"),
    "CHANGE_CLUSTER_FIREWALL_RULES": ("changed the firewall rules of a cluster", ""),
    "CREATE_VPC_PEERING_REQUEST": ("requested a VPC peering", "for"),
    "EDIT_VPC_PEERING_REQUEST": ("changed a VPC peering", "of"),
    "DELETE_VPC_PEERING_REQUEST": ("deleted a VPC peering", "of"),
    "PRIVATE_LINK_MIGRATION_ENABLE": ("enabled the migration to a private link", "for"),
    "PRIVATE_LINK_MIGRATION_DISABLE": ("disabled the migration to a private link", "for"),
    "CREATE_KAFKA_TOPIC": ("created a Kafka topic", "on"),
    "DISPLAY_KAFKA_TOPIC_CONFIG": ("read the configuration of a Kafka topic", "on"),
    "DESCRIBE_KAFKA_TOPIC": ("read a Kafka topic", "on"),
    "EDIT_KAFKA_TOPIC": ("changed a Kafka topic", "on"),
    "DELETE_KAFKA_TOPIC": ("deleted a Kafka topic", "on"),
    "LIST_KAFKA_ACLS": ("listed the Kafka access rules", "of"),
    "CREATE_KAFKA_ACLS": ("created Kafka access rules", "on"),
    "DELETE_KAFKA_ACLS": ("deleted Kafka access rules", "on"),
    "ENABLE_KAFKA_TIERED_STORAGE": ("enabled tiered storage", "on"),
    "LIST_BUNDLE_USERS": ("listed the database users", "of"),
    "CREATE_BUNDLE_USER": ("created a database user", "on"),
    "EDIT_BUNDLE_USER": ("changed a database user", "on"),
    "DELETE_BUNDLE_USER": ("deleted a database user", "on"),
    "BACKUP": ("backed up a cluster", ""),
    "RESTORE": ("restored data", "from"),
    "CREATE_BACKUP_SCHEDULE": ("created a backup schedule", "of"),
    "DELETE_BACKUP_SCHEDULE": ("deleted a backup schedule", "of"),
    "ADMIN_SET_ACCESS_LEVEL": ("set an access level", "on"),
    "ADMIN_ADD_CONFIG_OVERRIDE": ("added a configuration override", "to"),
    "ADMIN_DELETE_CONFIG_OVERRIDE": ("deleted a configuration override", "of"),
    "ADMIN_ADD_KAFKA_LISTENER": ("added a Kafka listener", "to"),
    "ADMIN_DELETE_KAFKA_LISTENER": ("deleted a Kafka listener", "of"),
    "ADMIN_ADD_KAFKA_PRIVATE_LINK_LISTENER": ("added a private link listener", "to"),
    "ADMIN_DELETE_KAFKA_PRIVATE_LINK_LISTENER": ("deleted a private link listener", "of"),
    "ADMIN_ADD_KAFKA_PRIVATE_LINK_IAM_ROLE": ("added an IAM role for private links", "to"),
    "ADMIN_DELETE_KAFKA_PRIVATE_LINK_IAM_ROLE": ("deleted an IAM role for private links", "of"),
}
_ARTICLE = re.compile(r"\ban? (?=\w+$)")

_LABELS: Mapping[str, str] = {
    "actionKind": "Action",
    "userName": "User",
    "crudOperation": "Operation",
    "timestamp": "Time",
    "account.name": "Account",
    "cluster.name": "Cluster",
    "organisation.name": "Organisation",
}
_WORDS = re.compile(r"[._\s]+|(?<=[a-z0-9])(?=[A-Z])")


def deed(kind: str, name: str = "") -> str:
    """Say what was done, and to which cluster or account: `deleted cluster orders-prod`; without a name `deleted a cluster`.

    A kind that the vendor does not document is named as it is: `did PURGE_NODE on orders-prod`.
    """
    phrase, link = _DEEDS.get(kind, (f"did {kind}", "on"))
    if not name:
        return phrase
    return f"{phrase} {link} {name}" if link else f"{_ARTICLE.sub('', phrase)} {name}"


def sentence(user: str | None, kind: str, cluster: str | None, account: str | None) -> str:
    """Say who did what, followed by the kind: `eve deleted cluster orders-prod in account shop (DELETE_CLUSTER)`."""
    place = f" in account {account}" if cluster and account else ""
    done = f"{user or 'Someone'} {deed(kind, cluster or account or '')}{place}"
    return f"{done} ({kind})" if kind in _DEEDS else done


def label(field: str) -> str:
    """Name a field of a record in words: `clusterId` is `Cluster id`, `raw.sourceIp` is `Source ip`."""
    if field in _LABELS:
        return _LABELS[field]
    words = " ".join(_WORDS.split(field.removeprefix("raw."))).strip()
    return words[:1].upper() + words[1:].lower() if words.isascii() else words
