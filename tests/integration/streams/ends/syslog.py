"""An rsyslog server that writes what it receives over TLS to a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.debian import find
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.streams.end import Fault, Received
from tests.integration.streams.ends.certificates import write_certificates
from tests.integration.streams.ends.server import ServerEnd, ServerProcess, free_port

# The queue of the type Direct has a message in the file before the server reads the next one. Several threads of this version
# close a session that another client has opened since (https://github.com/rsyslog/rsyslog/pull/5806).
_CONFIG = """\
global(
    workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriver="ossl"
    defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}"
)
main_queue(queue.type="Direct")
module(load="imtcp" workerThreads="1" streamDriver.name="ossl")
input(
    type="imtcp" address="127.0.0.1" port="{port}" ruleset="records"
    streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon"
)
input(
    type="imtcp" address="127.0.0.1" port="{strict_port}" ruleset="records"
    streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid"
)
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="records") {{ action(type="omfile" file="{folder}/records" template="raw") }}
"""
_LINE = re.compile(
    rb"<(\d+)>1 (\S+) actionwatch actionwatch - (\S+) \[actionwatch@32473 (.*?[^\\]\")\] \xef\xbb\xbf(.*)", re.DOTALL
)
_VALUE = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class SyslogEnd(ServerEnd):
    """One server for all tests of a process."""

    type_name = "syslog"
    secrets = ()
    too_large_bytes = 65_536
    cannot: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self._file = folder / "records"
        self.files = files = write_certificates(folder)
        self._expired = HttpEnd(lambda _: Reply(), files.server_context(is_expired=True))
        port, strict_port = free_port(), free_port()
        config = folder / "rsyslog.conf"
        config.write_text(
            _CONFIG.format(
                folder=folder, ca=files.ca, cert=files.cert, key=files.key, port=port, strict_port=strict_port
            )
        )
        program = find("rsyslogd", "rsyslog rsyslog-openssl")
        self._server = ServerProcess([program, "-n", "-f", config, "-i", folder / "pid"], port, folder)
        self._server.start()
        self.faults = {
            "unknown authority": lambda: self._fault("ca_file", ca_file=self.files.other_ca),
            "expired certificate": lambda: self._fault("fix the certificate", url=f"tls://{self._expired.url[8:]}"),
            "missing certificate": lambda: self._fault("wants a certificate", url=f"tls://127.0.0.1:{strict_port}"),
        }

    def options(self) -> Mapping[str, Any]:
        return {
            "url": f"tls://127.0.0.1:{self._server.port}",
            "ca_file": self.files.ca,
            "max_message_bytes": 65_536,
        }

    def received(self) -> list[Received]:
        if not self._file.exists():
            return []
        return [_received(line) for line in self._file.read_bytes().splitlines()]

    def close(self) -> None:
        self._server.stop()
        self._expired.close()

    def _fault(self, remedy: str, **changed: Any) -> Fault:
        return Fault({**self.options(), **changed}, remedy)


def _received(line: bytes) -> Received:
    found = _LINE.fullmatch(line)
    assert found, line
    priority, _, message_id, data, body = found.groups()
    values = {name: re.sub(r"\\(.)", r"\1", value) for name, value in _VALUE.findall(data.decode())}
    kind = values["kind"]
    assert message_id.decode() == kind
    assert int(priority) == 13 * 8 + (4 if kind == "alert" else 6)
    return Received(values["id"], kind, int(values["offset"]), values["key"], body)
