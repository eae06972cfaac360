"""Builds the image and tries it: see the package's docstring."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.children import Process, child, printed
from tests.end_to_end import kit
from tests.image.engine import BOOTSTRAPPED, LOCKED_DOWN, Engine, Skipped, working_engine
from tests.integration.notifiers.http_end import HttpEnd
from tests.waiting import wait_until

IMAGE, CONTAINER = "localhost/actionwatch-test", f"actionwatch-test-{os.getpid()}"
# A health check that asked this proxy would fail; so would a poll or a webhook.
PROXY = tuple(f"--env={name}=http://127.0.0.1:9" for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"))
PORT = 8080
STORE = "sqlite:////var/lib/actionwatch/actionwatch.db"
FIND_PIP = "find / -xdev -name pip -o -name 'pip[-0-9]*' -o -name ensurepip; python -m pip --version"


def check_at_rest(engine: Engine) -> list[str]:
    """Check the image before anything runs. Return its health check."""
    found = engine.run(IMAGE, *LOCKED_DOWN, "--entrypoint=sh", command=("-c", FIND_PIP))
    assert (found.stdout, found.returncode) == ("", 1), f"the image contains pip: {found.stdout}"
    identity = engine.run(IMAGE, *LOCKED_DOWN, "--entrypoint=id")
    assert identity.stdout.startswith("uid=10001(actionwatch) gid=10001(actionwatch)"), identity.stdout
    (inspected,) = json.loads(engine.call("image", "inspect", IMAGE).stdout)
    config = inspected["Config"]
    health: list[str] = (config.get("Healthcheck") or inspected["Healthcheck"])["Test"]
    assert config["User"] == "10001:10001", config["User"]
    assert health[0] == "CMD"
    ran = engine.run(IMAGE, *LOCKED_DOWN, f"--entrypoint={health[1]}", command=health[2:])
    assert ran.returncode != 0, "the health check passes without a service"
    return health[1:]


@contextlib.contextmanager
def running(engine: Engine, folder: Path) -> Iterator[Process]:
    """Run the service with a configuration folder. Remove the container at the end."""
    mounted = f"--volume={folder}:/etc/actionwatch:ro"
    options = ("--rm", f"--name={CONTAINER}", *engine.run_options, *LOCKED_DOWN, *PROXY, mounted)
    try:
        with child(
            [*engine.command, "run", *options, IMAGE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            yield process
    finally:
        engine.call("rm", "--force", "--volumes", CONTAINER)


def check_service(engine: Engine, health: list[str], folder: Path) -> None:
    """Let the service of the image deliver one signed alert, be healthy, have no privilege, and stop on SIGTERM."""
    soar = kit.Soar()
    with kit.upstream(folder) as upstream, HttpEnd(soar.take) as webhook:
        post = kit.Post(folder / "config", upstream, STORE).write(webhook)
        config = post.folder / "actionwatch.yaml"
        config.write_text(config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{PORT}"))
        with running(engine, post.folder) as process:
            upstream.delete_cluster("eve@example.com")
            wait_until(lambda: soar.arrivals or process.poll() is not None, "an alert")
            healthy = engine.call("exec", CONTAINER, *health)
            capabilities = engine.call("exec", CONTAINER, "grep", "Cap", "/proc/1/status").stdout
            wrote = engine.call("exec", CONTAINER, "touch", "/usr/written")
            engine.call("kill", "--signal=TERM", CONTAINER)
            log, _ = printed(process)
    (alert,) = soar.find(user="eve@example.com", type="alert.opened") or sys.exit(f"no alert arrived:\n{log}")
    assert alert.is_genuine, "the signature of the alert is wrong"
    assert healthy.returncode == 0, f"the health check fails behind a proxy: {healthy.stderr}"
    assert {line.split()[1] for line in capabilities.splitlines()} == {"0" * 16}, capabilities
    assert "Read-only file system" in wrote.stderr, wrote.stderr
    assert (process.returncode, "service_stopped" in log) == (0, True), f"SIGTERM: {process.returncode}\n{log}"


def main() -> None:
    """Build and check, or report why not."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        try:
            _check_port()
            engine = working_engine(folder)
        except Skipped as exc:
            print(f"image: skipped, because {exc}")
            return
        stack.callback(engine.call, "rmi", "--force", IMAGE, BOOTSTRAPPED)
        built = engine.build(IMAGE)
        assert built.returncode == 0, built.stdout + built.stderr
        check_service(engine, check_at_rest(engine), folder)
        print(f"image: built on {engine.base}, delivered a signed alert and stopped")


def _check_port() -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            raise Skipped(f"port {PORT}, which its health check asks, is in use")


if __name__ == "__main__":
    main()
