"""The OpenAPI document of the four operations, for people and for property-based tests of the emulator."""

from actionwatch.emulator.catalogue import KINDS, OPERATIONS
from actionwatch.emulator.log import DEFAULT_PAGE_SIZE
from actionwatch.emulator.query import MAX_INT32, MAX_PAGE_SIZE

Json = dict[str, object]

ACCOUNT_STRINGS = (
    "accountId",
    "accountName",
    "accountType",
    "accountSupportContacts",
    "accountEmergencyContacts",
    "accountMaintenanceContacts",
)
ACCOUNT_BOOLEANS = (
    "isAccountPciCompliant",
    "accountHasBillingDetails",
    "isEnabledIdpSyncedToOrganisation",
    "isAccountInvoiced",
    "isBillingSyncedToOrganisation",
    "areOrgAndAccountSharedProviderAccountsActivelyUsed",
)
RECORD_STRINGS = ("action", "domainType", "timestamp", "userName", "description", "organisationId", "organisationName")
RECORD_NULLABLE_STRINGS = ("accountId", "accountName", "clusterId", "clusterName")
# There is no year 0.
ISO_OR_MS = (
    r"^([0-9]{1,13}|[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)$"
)


def document(organisation_id: str) -> Json:
    """Return the document, with the organisation id as the default of the path parameter."""
    base = "/v1/organisations/{organisationId}"
    organisation = _path_parameter("organisationId", organisation_id)
    account = _path_parameter("accountId", None)
    return {
        "openapi": "3.0.3",
        "info": {"title": "Organization Management API (emulated)", "version": "1"},
        "security": [{"basic": []}],
        "paths": {
            f"{base}/user-actions": {"parameters": [organisation], "get": _user_actions()},
            f"{base}/linked-accounts": {
                "parameters": [organisation],
                "get": _operation("linkedAccounts", {200: _array(_account())}, 404),
                "post": _link_account(),
            },
            f"{base}/linked-accounts/{{accountId}}": {
                "parameters": [organisation, account],
                "delete": _operation(
                    "unlinkAccount", {200: _array({"type": "object", "required": ["id", "name"]})}, 404
                ),
            },
        },
        "components": {"securitySchemes": {"basic": {"type": "http", "scheme": "basic"}}},
    }


def _path_parameter(name: str, only: str | None) -> Json:
    schema: Json = {"type": "string", "minLength": 1}
    if only:
        schema["enum"] = [only]
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _user_actions() -> Json:
    boolean: Json = {"type": "boolean"}
    text: Json = {"type": "string"}
    size: Json = {
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": MAX_PAGE_SIZE,
        "default": DEFAULT_PAGE_SIZE,
    }
    index: Json = {"type": "integer", "format": "int32", "minimum": 0, "maximum": MAX_INT32, "default": 0}
    time: Json = {"type": "string", "pattern": ISO_OR_MS}
    parameters = [
        _query("pageSize", size, "Records per page"),
        _query("recordIndex", index, "Offset of the first record; 10 returns records starting from 11"),
        _query("actionKinds", _array(text), f"Invalid values are ignored; valid: {', '.join(KINDS)}"),
        _query("descriptionKeyword", text, "Keyword in the description"),
        _query("account", text, "Account id or name"),
        _query("clusterId", text, "Cluster id"),
        _query("crudOperations", _array(text), f"Invalid values are ignored; valid: {', '.join(sorted(OPERATIONS))}"),
        _query("userName", text, "User name"),
        _query("startTime", time, "Milliseconds since epoch, or ISO date and time"),
        _query("endTime", time, "Milliseconds since epoch, or ISO date and time"),
        _query("getActionCounts", {**boolean, "default": True}, "Include counts of each action type"),
        _query("organisationLogsOnly", {**boolean, "default": False}, "Only logs related to the organization"),
        _query("accountLogsOnly", {**boolean, "default": False}, "Only logs related to the accounts"),
    ]
    return {"parameters": parameters, **_operation("userActions", {200: _array(_envelope())}, 400, 403)}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _link_account() -> Json:
    body: Json = {
        "type": "object",
        "required": ["accountName"],
        "properties": {
            "accountName": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"},
            "validationMessages": {"type": "object"},
        },
    }
    answer: Json = {"type": "object", "required": ["accountId"], "properties": {"accountId": {"type": "string"}}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        **_operation("linkAccount", {200: answer}, 400, 404),
    }


def _operation(name: str, answers: dict[int, Json], *errors: int) -> Json:
    error = _object({"status": {"type": "integer"}, "message": {"type": "string"}})
    responses: Json = {str(status): _response("Done", schema) for status, schema in answers.items()}
    responses |= {str(status): _response("Refused", error) for status in errors}
    return {"operationId": name, "responses": {**responses, "401": {"description": "Wrong or no key"}}}


def _response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _envelope() -> Json:
    count: Json = {"type": "integer", "minimum": 0}
    strings: Json = {name: {"type": "string"} for name in RECORD_STRINGS}
    nullable: Json = {name: {"type": "string", "nullable": True} for name in RECORD_NULLABLE_STRINGS}
    whole = _object({"totalResults": count, "startIndex": count, "itemsPerPage": count})
    properties: Json = {
        "resources": _array(_object({**strings, **nullable})),
        "actionCounts": {"type": "object", "additionalProperties": count},
    }
    return {"allOf": [whole, {"type": "object", "required": ["resources"], "properties": properties}]}


def _account() -> Json:
    strings: Json = {name: {"type": "string"} for name in ACCOUNT_STRINGS}
    return _object({**strings, **{name: {"type": "boolean"} for name in ACCOUNT_BOOLEANS}})


def _object(properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def _array(items: Json) -> Json:
    return {"type": "array", "items": items}
