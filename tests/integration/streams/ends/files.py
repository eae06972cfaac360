"""A folder, and a bucket of moto's server, which speaks S3 over TLS and checks signatures."""

from __future__ import annotations

import datetime
import gzip
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import msgspec
import obstore
from obstore.store import S3Store

from tests.integration.streams.end import End, Fault, Received
from tests.integration.streams.ends.certificates import write_certificates
from tests.integration.streams.ends.server import ServerProcess, free_port

WRONG_KEY = "s3cret-wrong-access-key"
_UNCHECKED_REQUESTS = 4  # which create the user, the policy, the key and the bucket
_POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class FolderEnd(End):
    """A folder. It is stopped by taking it away, as a disk that is no longer mounted."""

    type_name = "files"
    secrets = ()
    too_large_bytes = None
    cannot: Mapping[str, str] = {"hang": "a local disk that hangs cannot be had"}

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "audit"
        self.folder.mkdir()
        (folder / "file").touch()
        self.faults = {
            "missing destination": lambda: Fault({"url": f"file://{folder}/nowhere"}, "create the folder, or mount it"),
            "not a folder": lambda: Fault({"url": f"file://{folder}/file"}, "write the path of a folder"),
        }

    def options(self) -> Mapping[str, Any]:
        return {"url": f"file://{self.folder}"}

    def received(self) -> list[Received]:
        return in_order((path.name, path.read_bytes()) for path in self.folder.glob("*/*.jsonl.gz"))

    def stop(self) -> None:
        self.folder.rename(self.folder.with_name("away"))

    def start(self) -> None:
        self.folder.with_name("away").rename(self.folder)

    def close(self) -> None:
        """Nothing runs."""


class BucketEnd(End):
    """One server for all tests; a second one has an expired certificate."""

    type_name = "files"
    too_large_bytes = None
    cannot: Mapping[str, str] = {"stop": "moto keeps objects in memory"}

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = write_certificates(folder)
        self._servers = [self._started("main", self._files.cert, self._files.key)]
        self._key = self._create()
        self.secrets = (self._key["SecretAccessKey"], WRONG_KEY)
        self.faults: Mapping[str, Callable[[], Fault]] = {
            "wrong credentials": lambda: Fault(
                {**self.options(), "secret_access_key": WRONG_KEY}, "check access_key_id"
            ),
            "missing destination": lambda: Fault({**self.options(), "url": "s3://nowhere/x"}, "create the bucket"),
            "unknown authority": lambda: Fault({**self.options(), "ca_file": self._files.other_ca}, "ca_file"),
            "expired certificate": self._expired,
        }
        # The threads of the library outlive each driver: they are of the process.
        next(iter(obstore.list(self._store())), None)

    def options(self) -> Mapping[str, Any]:
        return {
            "url": "s3://audit/some/prefix",
            "endpoint": self._endpoint(self._servers[0]),
            "access_key_id": self._key["AccessKeyId"],
            "secret_access_key": self._key["SecretAccessKey"],
            "ca_file": self._files.ca,
        }

    def received(self) -> list[Received]:
        store = self._store()
        names = [each["path"] for chunk in obstore.list(store) for each in chunk]
        objects = [(name, bytes(obstore.get(store, name).bytes())) for name in names if name.endswith(".gz")]
        return in_order((name.rpartition("/")[2], data) for name, data in objects)

    def hang(self) -> None:
        self._servers[0].hang()

    def resume(self) -> None:
        self._servers[0].resume()

    def close(self) -> None:
        for server in self._servers:
            server.stop()

    def _expired(self) -> Fault:
        server = self._started("expired", self._files.expired_cert, self._files.expired_key)
        self._servers.append(server)
        return Fault({**self.options(), "endpoint": self._endpoint(server)}, "fix the certificate")

    def _endpoint(self, server: ServerProcess) -> str:
        return f"https://127.0.0.1:{server.port}"

    def _started(self, name: str, cert: Path, key: Path) -> ServerProcess:
        folder = self._folder / name
        folder.mkdir()
        port = free_port()
        program = Path(sys.executable).parent / "moto_server"
        command: list[str | Path] = [program, "-H", "127.0.0.1", "-p", str(port), "-c", cert, "-k", key]
        server = ServerProcess(command, port, folder, {"INITIAL_NO_AUTH_ACTION_COUNT": str(_UNCHECKED_REQUESTS)})
        server.start()
        return server

    def _create(self) -> Any:
        given = {"endpoint_url": self._endpoint(self._servers[0]), "verify": str(self._files.ca)}
        login = {"aws_access_key_id": "first", "aws_secret_access_key": "first", "region_name": "us-east-1"}
        session = boto3.Session(**login)
        iam = session.client("iam", **given)
        iam.create_user(UserName="actionwatch")
        iam.put_user_policy(UserName="actionwatch", PolicyName="all", PolicyDocument=json.dumps(_POLICY))
        key = iam.create_access_key(UserName="actionwatch")["AccessKey"]
        session.client("s3", **given).create_bucket(Bucket="audit")
        return key

    def _store(self) -> S3Store:
        return S3Store(
            "audit",
            endpoint=self._endpoint(self._servers[0]),
            access_key_id=self._key["AccessKeyId"],
            secret_access_key=self._key["SecretAccessKey"],
            client_options={
                "root_certificate": self._files.ca.read_bytes(),
                "timeout": datetime.timedelta(seconds=30),
            },
        )


class _Line(msgspec.Struct):
    id: str
    kind: str
    offset: int
    key: str
    body: msgspec.Raw


def in_order(objects: Any) -> list[Received]:
    """Return the messages of objects, in the order of their names, as a consumer reads them."""
    lines = [line for _, data in sorted(objects) for line in gzip.decompress(data).splitlines()]
    read = [msgspec.json.decode(line, type=_Line) for line in lines]
    return [Received(each.id, each.kind, each.offset, each.key, bytes(each.body)) for each in read]
