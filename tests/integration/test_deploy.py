"""The files of docs/deploy/ and of `init`: their own tools accept them, and actionwatch accepts the configurations in them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.children import run_child
from tests.end_to_end import kit

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
UNIT = ROOT / "actionwatch" / "_init" / "actionwatch.service"
SECRETS, RUN = "/run/secrets/actionwatch", "/run/actionwatch"
VALUES = {
    "ACTIONWATCH_ORGANISATION_ID": "0b0e4c36-6b7c-4a2e-9f52-4b1f7a3a6a11",
    "ACTIONWATCH_USERNAME": "auditor",
    "ACTIONWATCH_API_KEY": "key",
    "POSTGRES_PASSWORD": "password",
}
MOST_EXPOSED = 15  # of 100: what is left is the network, which the service needs


def tool(*commands: str) -> list[str]:
    """Return the first of these commands that is installed; skip the test if none is."""
    for command in commands:
        if shutil.which(command.split()[0]):
            return command.split()
    pytest.skip(f"none of these is installed: {', '.join(commands)}")


def accepted(*command: str | Path, **options: Any) -> str:
    """Run a tool that must accept what it is given. Return its output."""
    ran = run_child(command, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, Any]]:
    """Return the resources that kustomize builds, by kind."""
    built = accepted(*tool("kustomize build", "kubectl kustomize"), KUBERNETES)
    return {each["kind"]: each for each in yaml.safe_load_all(built)}


@pytest.fixture(scope="module")
def pod(resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pod of the Deployment."""
    template: dict[str, Any] = resources["Deployment"]["spec"]["template"]
    return template


def containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all containers of a pod."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def check(folder: Path, config: Path, **environment: str) -> None:
    """Let `actionwatch check` accept a configuration."""
    checked = kit.finished("-c", str(config), "check", folder=folder, **environment)
    assert checked.returncode == 0, checked.stdout + checked.stderr


# -- Kubernetes


def test_kubernetes_knows_each_field(resources: Mapping[str, Any]) -> None:
    """Each resource fits the schema of its kind, in an old and in the newest version; a misspelt field would be refused."""
    # Takes seconds to import, and every process of the suite imports this module to collect its tests.
    from kubernetes_validate.utils import latest_version, validate

    assert set(resources) == {"ConfigMap", "Deployment", "PodDisruptionBudget", "Service"}
    for version in ("1.29", latest_version()):
        for resource in resources.values():
            validate(resource, version, strict=True)


def test_resources_refer_to_each_other(resources: Mapping[str, Any], pod: Mapping[str, Any]) -> None:
    """Selectors select the pods, mounts and ports have their names, and the ConfigMap is the one that is built."""
    labels = pod["metadata"]["labels"]
    deployment, budget = resources["Deployment"]["spec"], resources["PodDisruptionBudget"]["spec"]
    spread = pod["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"]
    selectors = [deployment["selector"]["matchLabels"], budget["selector"]["matchLabels"], spread]
    assert [*selectors, resources["Service"]["spec"]["selector"]] == [labels] * 4
    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    assert {mount["name"] for each in containers(pod) for mount in each["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == resources["ConfigMap"]["metadata"]["name"]
    assert {port["name"] for each in containers(pod) for port in each.get("ports", ())} == {"http"}
    assert [each["targetPort"] for each in resources["Service"]["spec"]["ports"]] == ["http"]


def probes(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the path of each probe of the service by name."""
    (service,) = pod["spec"]["containers"]
    found = {name: service[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {each["port"] for each in found.values()} == {"http"}
    return {name: each["path"] for name, each in found.items()}


def test_probes_ask_whether_a_replica_is_alive(pod: Mapping[str, Any]) -> None:
    """A rolling update and a drain count replicas also while the upstream is down, when `/readyz` answers 503 on all."""
    assert probes(pod) == dict.fromkeys(("startupProbe", "livenessProbe", "readinessProbe"), "/healthz")


def test_pods_have_no_privilege(pod: Mapping[str, Any]) -> None:
    """The pods meet the standard `restricted`, write only to volumes, and see secrets as files that only they can read."""
    assert pod["spec"]["automountServiceAccountToken"] is False
    for each in containers(pod):
        context = {**pod["spec"]["securityContext"], **each["securityContext"]}
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["fsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} == set(each["resources"])
        assert not any("valueFrom" in variable for variable in each.get("env", ()))
    (secrets,) = [each["secret"] for each in pod["spec"]["volumes"] if "secret" in each]
    assert secrets["defaultMode"] == 0o440


def test_the_configuration_of_the_pods_is_accepted(
    resources: Mapping[str, Any], pod: Mapping[str, Any], tmp_path: Path
) -> None:
    """`check` accepts it with the files of the Secret that the page names, and with what `prepare` writes."""
    text = resources["ConfigMap"]["data"]["actionwatch.yaml"]
    named = set(re.findall(r"--from-file=(\w+)", (DEPLOY / "README.md").read_text()))
    active = re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE)
    assert set(re.findall(rf"{SECRETS}/(\w+)", active)) | {"pgpass"} == named
    for folder in ("secrets", "run"):
        (tmp_path / folder).mkdir()
    for name in named:
        (tmp_path / "secrets" / name).write_text("secret")

    def moved(what: str) -> str:
        return what.replace(SECRETS, str(tmp_path / "secrets")).replace(RUN, str(tmp_path / "run"))

    prepare, _ = pod["spec"]["initContainers"]
    path = f"{kit.COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    accepted(*prepare["command"], *map(moved, prepare["args"]), cwd=tmp_path, env=kit.environment(PATH=path))
    assert (tmp_path / "run" / "pgpass").stat().st_mode & 0o777 == 0o600, "libpq ignores a file that others can read"
    config = tmp_path / "actionwatch.yaml"
    config.write_text(moved(text))
    check(tmp_path, config)


# -- compose


@pytest.fixture
def composed(tmp_path: Path) -> tuple[list[str], Path]:
    """Return the command for the compose file in a folder that `init` wrote."""
    command = tool("docker-compose", "docker compose")
    assert kit.finished("init", str(tmp_path), folder=tmp_path).returncode == 0
    shutil.copy(DEPLOY / "compose" / "compose.yaml", tmp_path)
    return [*command, "config", "--format", "json"], tmp_path


def test_compose_runs_the_configuration_of_init(composed: tuple[list[str], Path]) -> None:
    """compose accepts the file, and actionwatch the configuration with the variables that its container has."""
    command, folder = composed
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in VALUES.items()))
    services = json.loads(accepted(*command, cwd=folder))["services"]
    service = services["actionwatch"]
    mounted = {each["source"] for each in service["volumes"]}
    assert mounted == {str(folder / "actionwatch.yaml"), str(folder / "rules")}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert services["postgres"]["environment"]["POSTGRES_PASSWORD"] == service["environment"]["PGPASSWORD"]
    check(folder, folder / "actionwatch.yaml", **service["environment"])


def test_compose_names_a_missing_variable(composed: tuple[list[str], Path]) -> None:
    """Nothing starts with an empty key or password."""
    command, folder = composed
    for missing in VALUES:
        text = "".join(f"{name}={value}\n" for name, value in VALUES.items() if name != missing)
        (folder / ".env").write_text(text)
        ran = run_child(command, cwd=folder)
        assert ran.returncode != 0
        assert f"{missing} is missing a value: set it in .env" in ran.stderr


def test_compose_starts_the_broker_of_the_demo_on_loopback(tmp_path: Path) -> None:
    """compose accepts the file of the broker, which listens where `demo --stream redis` sends, and nowhere else."""
    shutil.copy(DEPLOY / "streams" / "compose.yaml", tmp_path)
    command = [*tool("docker-compose", "docker compose"), "config", "--format", "json"]
    (port,) = json.loads(accepted(*command, cwd=tmp_path))["services"]["valkey"]["ports"]
    assert (port["host_ip"], port["published"]) == ("127.0.0.1", "6390")


# -- systemd


def test_systemd_knows_each_setting(tmp_path: Path) -> None:
    """systemd reads the unit without a warning."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/actionwatch/bin/actionwatch", str(kit.COMMAND)))
    ran = run_child([*tool("systemd-analyze"), "verify", "--man=no", unit])
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_unit_may_do_little() -> None:
    """systemd rates what the unit may do as hardly exposed."""
    options = ("--offline=true", "--no-pager", f"--threshold={MOST_EXPOSED}")
    accepted(*tool("systemd-analyze"), "security", *options, UNIT)


def test_the_page_names_each_file() -> None:
    """The page about deployment has a link to each of its files' folders and to the unit."""
    page = (DEPLOY / "README.md").read_text()
    folders = {path.parent.name for path in chain(DEPLOY.glob("*/*.yaml"))}
    assert all(f"]({folder}/" in page for folder in folders)
    assert "actionwatch.service" in page


def test_each_configuration_sends_one_page_for_one_deletion() -> None:
    """The example for Kubernetes has the inhibition of `init`."""
    first, pods = (
        yaml.safe_load(path.read_text())
        for path in (UNIT.with_name("actionwatch.yaml"), KUBERNETES / "actionwatch.yaml")
    )
    assert pods["inhibit_rules"] == first["inhibit_rules"]
