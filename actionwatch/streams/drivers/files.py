"""Files: write each batch as objects into S3-compatible storage or a folder, one for each day (UTC) of its messages.

At least once: a repeat of a batch has the same bytes and overwrites its objects. In order: by the offsets in the names within a
day, and by lines within an object. The name of an object ends with its SHA-256, so that it proves its contents:
`date=2026-11-25/<first offset>-<last offset>.<digest>.jsonl.gz`.

When a statement completes a day, the day gets a manifest, `SHA256SUMS`, which `sha256sum -c` verifies: it names every object of
the day, and the manifest of the day before. What comes later for the day writes it again, and those after it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.base.files import sync_folder
from actionwatch.notifiers.base import Redactor
from actionwatch.settings.validators import Word, require_package
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import failure
from actionwatch.text import options as words

if TYPE_CHECKING:
    from obstore.store import S3Store

TRAITS = Traits(is_object=True)
MANIFEST = "SHA256SUMS"
_DATE = "date="
_COMPLETE, _AMENDED = "stream.complete_through", "stream.amended"
OBJECT = re.compile(r"\d{20}-\d{20}\.([0-9a-f]{64})\..+")
ONE_DAY = timedelta(days=1)
_ANSWER = re.compile("<Code>([^<]*)</Code>\\s*<Message>([^<]*)</Message>")
_UNTRUSTED = re.compile(r"InvalidCertificate\(\s*(\w+)")
_OS_ERROR = re.compile('message: "([^"]+)"')
_WRONG_KEY = "check access_key_id and secret_access_key"
_REMEDIES = {
    "InvalidAccessKeyId": _WRONG_KEY,
    "SignatureDoesNotMatch": _WRONG_KEY,
    "AccessDenied": f"{_WRONG_KEY}, and allow ListBucket, GetObject and PutObject",
    "NoSuchBucket": "create the bucket, or correct url",
}


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_folder = parts.scheme == "file" and not parts.netloc and parts.path.startswith("/")
        is_bucket = parts.scheme == "s3" and bool(parts.netloc) and "@" not in parts.netloc
    except ValueError:
        is_folder = is_bucket = False
    if not (is_folder or is_bucket) or parts.query or parts.fragment:
        raise ValueError("must be s3://bucket/prefix, or file:///folder")
    return url


class Options(words.Options):
    """The keys of a stream of the type `files`."""

    url: Annotated[str, AfterValidator(_url)]
    """`s3://bucket/prefix`, or an existing folder: `file:///srv/audit`."""
    compression: Literal["gzip", "none"] = "gzip"
    """The compression of each object."""
    endpoint: Annotated[str, AfterValidator(words.check_url)] | None = None
    """The URL of a storage other than that of AWS. `http://` is accepted only for loopback."""
    region: Word | None = None
    """The region of the bucket. Default: that of the environment, or `us-east-1`."""
    access_key_id: Word | None = None
    """The id of the access key. Default: the credentials of the environment, or of the machine in AWS."""
    secret_access_key: words.Secret | None = None
    """The access key."""
    secret_access_key_file: words.SecretFile | None = None
    ca_file: words.CaFile | None = None
    """A PEM file with certificates to trust, besides the system's."""
    timeout: words.PositiveDuration = timedelta(seconds=30)
    """For each request."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.refuse_both(self, "secret_access_key", "secret_access_key_file")
        if (self.access_key_id is None) != (self.access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: set both or neither")
        if self.url.startswith("s3:"):
            require_package("obstore", "streams")
        return self

    @property
    def access_key(self) -> str | None:
        """The access key, from either key."""
        return words.secret(self.secret_access_key, self.secret_access_key_file)


def build(options: Options, *, stream: str) -> FilesDriver:  # noqa: ARG001
    return FilesDriver(options)


class Storage(Protocol):
    """Objects under names such as `date=2026-11-25/SHA256SUMS`. All methods raise TransientDeliveryError."""

    def check(self) -> None:
        """Check that the bucket or the folder exists."""
        ...

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        ...

    def get(self, name: str) -> bytes | None:
        """Read an object; None if there is none."""
        ...

    def names(self, folder: str) -> list[str]:
        """Return the names of the objects of a day, in any order."""
        ...

    def folders(self) -> list[str]:
        """Return the names of the folders, in any order."""
        ...


def open_storage(options: Options) -> Storage:
    """Return the bucket or the folder of a stream. Opens no connection."""
    parts = urlsplit(options.url)
    return _Folder(Path(unquote(parts.path))) if parts.scheme == "file" else _Bucket(options)


class FilesDriver:
    """Writes into one bucket or folder. It keeps no connection."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._ending = "jsonl.gz" if options.compression == "gzip" else "jsonl"
        self._storage = open_storage(options)

    def open(self) -> None:
        """Check that the bucket or the folder exists."""
        self._storage.check()

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Write the objects of a batch, and then the manifests of the days that it completes or amends."""
        days: dict[date, list[StreamMessage]] = {}
        for message in batch:
            days.setdefault(_day(message), []).append(message)
        for day, messages in days.items():
            data = b"".join(message.line() for message in messages)
            if self._options.compression == "gzip":
                data = gzip.compress(data, mtime=0)  # without the time, so that a repeat has the same bytes
            digest = hashlib.sha256(data).hexdigest()
            first, last = messages[0].offset, messages[-1].offset
            self._storage.put(f"{folder_of(day)}/{first:020}-{last:020}.{digest}.{self._ending}", data)
        for day in sorted(day for day, messages in days.items() if self._is_sealed(day, messages)):
            self._seal(day)
        return ()

    def close(self) -> None:
        """Nothing is open."""

    def _is_sealed(self, day: date, messages: Iterable[StreamMessage]) -> bool:
        """Return whether these messages complete a day, or come after it was complete."""
        is_complete = any(each.kind == _COMPLETE and each.at.date() > day for each in messages)
        return is_complete or self._storage.get(manifest_of(day)) is not None

    def _seal(self, day: date) -> None:
        """Write the manifest of a day, and again those of the days after it, each of which contains the digest of the last."""
        while True:
            names = sorted(self._storage.names(folder_of(day)))
            lines = [f"{found[1]}  {name}\n" for name in names if (found := OBJECT.fullmatch(name))]
            before = self._storage.get(manifest_of(day - ONE_DAY))
            if before is not None:
                lines.insert(0, f"{hashlib.sha256(before).hexdigest()}  ../{manifest_of(day - ONE_DAY)}\n")
            self._storage.put(manifest_of(day), "".join(lines).encode())
            day += ONE_DAY
            if self._storage.get(manifest_of(day)) is None:
                return


def _day(message: StreamMessage) -> date:
    """Return the day of a message. A statement is about the time before its instant."""
    is_statement = message.kind in (_COMPLETE, _AMENDED)
    return (message.at - timedelta(microseconds=1) if is_statement else message.at).date()


def folder_of(day: date) -> str:
    """Return the folder of a day."""
    return f"{_DATE}{day.isoformat()}"


def day_of(folder: str) -> date | None:
    """Return the day of a folder; None for a folder of somebody else."""
    try:
        day = date.fromisoformat(folder.removeprefix(_DATE))
    except ValueError:
        return None
    return day if folder == folder_of(day) else None


def manifest_of(day: date) -> str:
    """Return the name of the manifest of a day."""
    return f"{folder_of(day)}/{MANIFEST}"


class _Folder:
    """A folder. A file gets its name when it is complete and on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def check(self) -> None:
        with self._translated():
            os.stat(self._root / ".")  # noqa: PTH116  # a Path drops the dot, which refuses a file

    def put(self, name: str, data: bytes) -> None:
        target = self._root / name
        draft = target.with_name(f".{target.name}")
        with self._translated():
            if not target.parent.exists():
                target.parent.mkdir()
                sync_folder(self._root)
            try:
                with draft.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                draft.replace(target)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(target.parent)

    def get(self, name: str) -> bytes | None:
        with self._translated():
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        with self._translated():
            return os.listdir(self._root / folder)  # noqa: PTH208

    def folders(self) -> list[str]:
        with self._translated():
            return [entry.name for entry in os.scandir(self._root) if entry.is_dir()]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            remedies: dict[type[OSError], str] = {
                FileNotFoundError: "create the folder, or mount it",
                NotADirectoryError: "write the path of a folder in url",
                PermissionError: "let the user of actionwatch write there",
            }
            what = exc.strerror or type(exc).__name__
            raise failure(str(self._root), what, remedies.get(type(exc), "check the disk")) from exc


class _Bucket:
    """A bucket of S3. A repeat overwrites an object with the same bytes."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._redact = Redactor(options.access_key)
        self._store: S3Store | None = None

    def check(self) -> None:
        self.names("")

    def put(self, name: str, data: bytes) -> None:
        import obstore

        with self._translated() as store:
            obstore.put(store, name, data, use_multipart=False)

    def get(self, name: str) -> bytes | None:
        import obstore

        with self._translated() as store:
            try:
                return bytes(obstore.get(store, name).bytes())
            except FileNotFoundError:
                return None

    def names(self, folder: str) -> list[str]:
        import obstore

        with self._translated() as store:
            if not folder:
                next(iter(obstore.list(store, chunk_size=1)), None)
                return []
            return [each["path"].rpartition("/")[2] for chunk in obstore.list(store, folder) for each in chunk]

    def folders(self) -> list[str]:
        import obstore

        with self._translated() as store:
            return [
                each.rstrip("/").rpartition("/")[2] for each in obstore.list_with_delimiter(store)["common_prefixes"]
            ]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[S3Store]:
        from obstore.exceptions import BaseError

        if self._store is None:
            self._store = self._built()
        try:
            yield self._store
        except (BaseError, OSError) as exc:
            raise self._explained(str(exc)) from exc

    def _explained(self, text: str) -> TransientDeliveryError:
        """Read the error of the library: a line, the response of the server, and a dump of what has happened."""
        place, excerpt = self._options.url, self._redact.excerpt
        if answer := _ANSWER.search(text):
            code, message = answer.groups()
            return failure(place, excerpt(f"{code}: {message}"), _REMEDIES.get(code, ""))
        if untrusted := _UNTRUSTED.search(text):
            what = f"the certificate is not trusted ({untrusted[1].removesuffix('Context')})"
            return failure(place, what, "fix the certificate, or set ca_file to its authority")
        if "kind: Timeout" in text:
            return failure(place, f"no answer within {self._options.timeout.total_seconds():g} s")
        if reason := _OS_ERROR.search(text):
            return failure(place, excerpt(reason[1]), "check endpoint")
        return failure(place, excerpt(text.partition("\n")[0]))

    def _built(self) -> S3Store:
        from obstore.store import S3Store

        options, parts = self._options, urlsplit(self._options.url)
        given = {
            "access_key_id": options.access_key_id,
            "secret_access_key": options.access_key,
            "endpoint": options.endpoint,
            "region": options.region,
        }
        trusted = {"root_certificate": options.ca_file.read_bytes()} if options.ca_file else {}
        settings: Any = {name: value for name, value in given.items() if value is not None}
        client: Any = {
            "timeout": options.timeout,
            "connect_timeout": options.timeout,
            "allow_http": (options.endpoint or "").startswith("http:"),
            **trusted,
        }
        return S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            checksum_algorithm="SHA256",  # a bucket with object lock requires one
            client_options=client,
            retry_config={"max_retries": 0, "retry_timeout": options.timeout},
            **settings,
        )
