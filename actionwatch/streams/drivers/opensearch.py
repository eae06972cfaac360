"""OpenSearch and Elasticsearch: create one document for each message, with requests to `_bulk`.

At least once, and a repeat changes nothing: the id of the message is the id of the document, and a document is only created. In
a data stream this ends when it gets another backing index: a repeat after that is a second document. An index has no order; the
field `actionwatch.offset` has that of the stream. A document counts as sent when the primary shard and the replicas that are in
sync, have it in their translog (`index.translog.durability: request`, the default).
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Annotated, Any

import msgspec
from pydantic import AfterValidator, model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._http import Api, ApiOptions
from actionwatch.streams.drivers._servers import LoginOptions
from actionwatch.text.options import Secret, SecretFile, refuse_both, secret

TRAITS = Traits()
_INDEX = re.compile(r"[a-z0-9.][a-z0-9._-]{0,254}", re.ASCII)
_FILTER = "filter_path=items.*.status,items.*.error.type,items.*.error.reason"
_CREATED, _EXISTS = 201, 409
_BAD_REQUEST, _NOT_FOUND, _TOO_LARGE = 400, 404, 413
_REMEDIES = {
    401: "check username and password, or api_key",
    403: "allow the user to create documents in the index, and to see that it exists; or remove its block",
    404: "create the index or the data stream, or correct index",
}
# Reasons for the status 400 that are not about the document.
_ABOUT_INDEX = re.compile("index_closed|no write index|pipeline with id|invalid_index_name")


def _index(name: str) -> str:
    if not _INDEX.fullmatch(name):
        raise ValueError(
            "must be the name of an index, an alias or a data stream: lower-case letters, digits, '.', '_', '-'"
        )
    return name


class Options(ApiOptions, LoginOptions):
    """The keys of a stream of the type `opensearch`."""

    index: Annotated[str, AfterValidator(_index)]
    """The index, the alias or the data stream. It must exist."""
    api_key: Secret | None = None
    """An API key of Elasticsearch in its encoded form, instead of a user and a password."""
    api_key_file: SecretFile | None = None

    @model_validator(mode="after")
    def _check(self) -> Options:
        refuse_both(self, "api_key", "api_key_file", "username")
        return self

    @property
    def authorization(self) -> str:
        """The value of the header; empty if the server asks for none."""
        key = secret(self.api_key, self.api_key_file)
        if key is not None:
            return f"ApiKey {key}"
        if self.username is not None:
            return f"Basic {b64encode(f'{self.username}:{self.login_password}'.encode()).decode()}"
        return ""


def build(options: Options, *, stream: str) -> OpenSearchDriver:  # noqa: ARG001
    return OpenSearchDriver(options)


class OpenSearchDriver:
    """Creates documents in one index."""

    def __init__(self, options: Options) -> None:
        key = secret(options.api_key, options.api_key_file)
        self._index = options.index
        self._api = Api(options, options.authorization, options.login_password, key)

    def open(self) -> None:
        """Check that the index exists."""
        self.close()
        self._api.start()
        response = self._api.exchange("HEAD", f"/{self._index}")
        if response.status != 200:
            what = f"for the index {self._index}"
            raise self._api.refusal(response, _REMEDIES.get(response.status, ""), what)

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Create the documents, and wait until the index has them."""
        self._api.start()
        refused = []
        documents = {}
        for message in batch:
            document = _document(message)
            if document is None:
                refused.append(Refusal(message.id, "not a JSON object: choose a format that is one"))
            else:
                documents[message.id] = document
        return [*refused, *self._create(documents)] if documents else refused

    def close(self) -> None:
        """Close the connection."""
        self._api.close()

    def _create(self, documents: Mapping[str, bytes]) -> Sequence[Refusal]:
        """Create documents by their ids. Return those that the index never accepts."""
        body = b"".join(_line({"create": {"_id": id_}}) + document for id_, document in documents.items())
        path = f"/{self._index}/_bulk?{_FILTER}"
        response = self._api.exchange("POST", path, body, content_type="application/x-ndjson")
        if response.status == _TOO_LARGE:
            return self._create_parts(documents)
        if response.status != 200:
            raise self._api.refusal(response, _REMEDIES.get(response.status, ""))
        items = response.json_object().get("items")
        if not isinstance(items, list) or len(items) != len(documents):
            raise self._api.refusal(
                response, "check that url is that of OpenSearch or Elasticsearch", "not an answer to _bulk"
            )
        outcomes = zip(documents, items, strict=True)
        return [
            refusal for id_, item in outcomes if (refusal := self._refusal(id_, item.get("create") or {})) is not None
        ]

    def _create_parts(self, documents: Mapping[str, bytes]) -> Sequence[Refusal]:
        """Send halves of a request that is too large; the order of documents has no meaning."""
        ids = list(documents)
        if len(ids) == 1:
            why = "the server accepts no request of this size: raise http.max_content_length there"
            return [Refusal(ids[0], f"{len(documents[ids[0]])} bytes: {why}")]
        middle = len(ids) // 2
        return [
            refusal
            for part in (ids[:middle], ids[middle:])
            for refusal in self._create({id_: documents[id_] for id_ in part})
        ]

    def _refusal(self, id_: str, outcome: Mapping[str, Any]) -> Refusal | None:
        """Return None if the index has the document, or why it never accepts it.

        Raises: TransientDeliveryError.
        """
        status = outcome.get("status")
        if status in (_CREATED, _EXISTS):
            return None
        error = outcome.get("error") or {}
        text = self._api.excerpt(f"{error.get('type')}: {error.get('reason')}")
        if status == _BAD_REQUEST and not _ABOUT_INDEX.search(text):
            return Refusal(id_, text)
        remedy = _REMEDIES.get(status, "") if isinstance(status, int) else ""
        raise TransientDeliveryError(f"{self._api.place}: {status} {text}" + (f": {remedy}" if remedy else ""))


def _document(message: StreamMessage) -> bytes | None:
    """Return a line with the body as it is, and the fields that it does not have; None if it is no JSON object."""
    try:
        fields = msgspec.json.decode(message.body, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return None
    ours = {"id": message.id, "offset": message.offset, "kind": message.kind, "key": message.key}
    at = message.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    added = {"@timestamp": at, "actionwatch": ours}
    return _line({**fields, **{name: value for name, value in added.items() if name not in fields}})


def _line(value: Mapping[str, Any]) -> bytes:
    # A line end in JSON is only possible between two tokens.
    return msgspec.json.encode(value).replace(b"\n", b" ") + b"\n"
