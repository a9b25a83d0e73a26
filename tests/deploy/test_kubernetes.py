"""deploy/kubernetes: rendered by Kustomize, valid by the schemas of Kubernetes, and of one piece with the server."""

import functools
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate  # type: ignore[import-untyped] # it comes without types
import pytest
import yaml

from mtls_as.cli.application import application
from mtls_as.config import Settings, load_settings
from mtls_as.http.operations import LIVE, READY
from mtls_as.rfc.rfc4648_base64url import encode_base64url
from tests.authority import Authority, dns
from tests.cli.workplace import ROOT
from tests.deploy.database import DATA, SOCKETS, programs, serving_database
from tests.deploy.documented import section, shell_blocks
from tests.deploy.image import Machine, hand_over, own_network, owned
from tests.deploy.test_dockerfile import commands as image_commands
from tests.deploy.test_dockerfile import image_environment
from tests.observability.test_metrics import documented
from tests.programs import require_program

FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ("1.30", "1.32", "1.37")
OVERLAYS = ("base", "example")
# Of cert-manager, whose schemas are its own.
FOREIGN = {"Certificate", "Issuer"}

Document = dict[str, Any]


@functools.cache
def rendered(overlay: str) -> list[Document]:
    """What would be applied."""
    kustomize = [shutil.which("kustomize") or "", "build"]
    command = kustomize if kustomize[0] else [require_program("kubectl"), "kustomize"]
    done = subprocess.run([*command, FOLDER / overlay], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(done.stdout))


def only(overlay: str, kind: str, name: str = "mtls-as") -> Document:
    [found] = [each for each in rendered(overlay) if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pods(overlay: str) -> dict[str, Document]:
    """The templates of pods, by the name of who makes them."""
    found = (each for each in rendered(overlay) if each["kind"] in {"Deployment", "Job"})
    return {each["metadata"]["name"]: each["spec"]["template"] for each in found}


def container(template: Document) -> Document:
    [found] = template["spec"]["containers"]
    return dict(found)


def config_map(overlay: str) -> Document:
    """The one that Kustomize names by its content."""
    [found] = [each for each in rendered(overlay) if each["kind"] == "ConfigMap"]
    return found


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(overlay: str, tmp_path: Path) -> Settings:
    """The configuration of the ConfigMap, as the server loads it."""
    [(name, text)] = config_map(overlay)["data"].items()
    assert name == "config.toml"
    (tmp_path / name).write_text(text)
    return load_settings(tmp_path / name)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_document_is_valid(overlay: str, version: str) -> None:
    """By the schemas of several versions of Kubernetes, which know no further members."""
    for document in rendered(overlay):
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)


def test_a_member_that_nobody_knows_is_found() -> None:
    """The test above would pass as well if the schemas allowed everything."""
    with pytest.raises(kubernetes_validate.ValidationError, match="replicaz"):
        kubernetes_validate.validate(only("base", "Deployment") | {"replicaz": 2}, VERSIONS[0], strict=True)


def test_everything_is_in_one_namespace_that_is_restricted(overlay: str) -> None:
    namespace = only(overlay, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    others = [each for each in rendered(overlay) if each is not namespace]
    assert {each["metadata"].get("namespace", "mtls-as") for each in others} == {"mtls-as"}


def test_pods_keep_to_the_restricted_standard(overlay: str) -> None:
    """As Pod Security Admission asks, and more: no token of the cluster, a read-only root, bounded memory."""
    assert set(pods(overlay)) == {"mtls-as", "mtls-as-schema"}
    for template in pods(overlay).values():
        spec, own = template["spec"], container(template)
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert own["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert {"memory"} <= own["resources"]["limits"].keys()
        assert {next(kind for kind in volume if kind != "name") for volume in spec["volumes"]} <= {
            "configMap", "secret", "emptyDir",
        }  # fmt: skip
    assert only(overlay, "ServiceAccount")["automountServiceAccountToken"] is False


def test_what_is_mounted_is_what_the_configuration_names(overlay: str, settings: Settings) -> None:
    """Each file lies in a volume; what is secret in one of secrets, for the group of the pod alone."""
    text = config_map(overlay)["data"]["config.toml"]
    named = {Path(path).parent for path in re.findall(r"(/run/mtls-as/[\w./-]+)", text)}
    template = pods(overlay)["mtls-as"]["spec"]
    volumes = {volume["name"]: volume for volume in template["volumes"]}
    mounts = {Path(each["mountPath"]): volumes[each["name"]] for each in template["containers"][0]["volumeMounts"]}
    assert named <= mounts.keys()
    assert settings.storage.encryption_key_file.parent in mounts
    for secret in (
        settings.tls.private_key,
        settings.storage.encryption_key_file,
        settings.storage.database.password_file,
    ):
        assert secret is not None
        assert mounts[secret.parent]["secret"]["defaultMode"] == 0o440
    writable = [mount for mount, volume in mounts.items() if "emptyDir" in volume]
    assert sorted(map(str, writable)) == ["/tmp", "/var/lib/mtls-as"]
    assert mounts[Path("/etc/mtls-as")]["configMap"]["name"] == config_map(overlay)["metadata"]["name"]


def test_the_memory_of_a_pod_is_enough_for_its_connections(overlay: str, settings: Settings) -> None:
    """By the sum of docs/operations.md."""
    [(process, connection)] = re.findall(r"\| memory \| (\d+) MiB, and (\d+) KiB", section("operations.md", "Sizing"))
    limit = container(pods(overlay)["mtls-as"])["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Mi")) > int(process) + settings.connections.connections * int(connection) / 1024


def test_the_documented_commands_make_what_is_mounted() -> None:
    """Every secret and ConfigMap that no document makes, with the files that the configuration names."""
    [block] = shell_blocks("operations.md", "Kubernetes", containing="create secret")
    made = dict[str, set[str]]()
    for line in block.splitlines():
        if found := re.search(r"create (?:secret generic|configmap) (\S+) (.*)", line):
            made[found[1]] = {pair.partition("=")[0] for pair in re.findall(r"--from-file=(\S+)", found[2])}
    spec = pods("base")["mtls-as"]["spec"]
    where = {each["name"]: each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
    text = config_map("base")["data"]["config.toml"]
    wanted = dict[str, set[str]]()
    for volume in spec["volumes"]:
        name = volume.get("secret", {}).get("secretName") or volume.get("configMap", {}).get("name")
        if name and name != config_map("base")["metadata"]["name"]:
            wanted[name] = set(re.findall(rf"{where[volume['name']]}/([\w.-]+)", text))
    certificate = only("base", "Certificate", "mtls-as-server")["spec"]["secretName"]
    assert wanted.pop(certificate) == {"tls.crt", "tls.key"}
    assert made == wanted
    assert "kubectl apply --kustomize deploy/kubernetes/example" in block


def test_nothing_secret_is_under_version_control(overlay: str) -> None:
    """There are no secrets among the documents, and no keys or passwords in the ConfigMap."""
    assert [each for each in rendered(overlay) if each["kind"] == "Secret"] == []
    text = config_map(overlay)["data"]["config.toml"]
    assert "PRIVATE KEY" not in text
    assert not re.search(r"://[^/@\s]*:[^/@\s]*@", text)
    for template in pods(overlay).values():
        assert "env" not in container(template)


def test_the_command_lines_are_ours(overlay: str) -> None:
    entry = image_commands()["start"][:1]
    for template in pods(overlay).values():
        program, *arguments = [*entry, *container(template)["args"]]
        assert program == "mtls-as"
        _, command, rest = application.resolve_command(click.Context(application), arguments)
        assert command is not None
        command.make_context("pod", rest)
    mounted = {each["mountPath"] for each in container(pods(overlay)["mtls-as"])["volumeMounts"]}
    assert str(Path(image_environment()["MTLS_AS_CONFIG"]).parent) in mounted


def test_probes_ask_what_the_admin_listener_answers(overlay: str, settings: Settings) -> None:
    """By TLS, at its port. Readiness takes a node out of service; a database that is away must restart none."""
    own = container(pods(overlay)["mtls-as"])
    ports = {port["name"]: port["containerPort"] for port in own["ports"]}
    assert ports == {"token": port_of(settings.listeners.mtls.bind), "admin": port_of(settings.listeners.admin_bind)}
    paths = {name: own[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": LIVE.path, "livenessProbe": LIVE.path, "readinessProbe": READY.path}
    for name in paths:
        assert (own[name]["httpGet"]["scheme"], own[name]["httpGet"]["port"]) == ("HTTPS", "admin")


def port_of(bind: str | None) -> int:
    assert bind is not None
    return int(bind.rpartition(":")[2])


def test_a_pod_has_the_time_to_end(overlay: str, settings: Settings) -> None:
    """It drains longer than it takes to notice, and is killed only after it could have ended."""
    template = pods(overlay)["mtls-as"]
    probe = container(template)["readinessProbe"]
    assert settings.timeouts.drain > probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
    # Who still connects is served for three seconds more.
    least = settings.timeouts.drain + 3 + settings.timeouts.shutdown + 10
    assert template["spec"]["terminationGracePeriodSeconds"] >= least


def selectors(overlay: str) -> Iterator[tuple[str, Document]]:
    for each in rendered(overlay):
        kind, spec = each["kind"], each.get("spec", {})
        name = f"{kind} {each['metadata']['name']}"
        if kind == "Service":
            yield name, spec["selector"]
        elif kind in {"Deployment", "PodDisruptionBudget"}:
            yield name, spec["selector"]["matchLabels"]
        elif kind == "NetworkPolicy":
            yield name, spec["podSelector"]["matchLabels"]
    for constraint in pods(overlay)["mtls-as"]["spec"]["topologySpreadConstraints"]:
        yield "spread", constraint["labelSelector"]["matchLabels"]


def test_selectors_find_the_nodes_and_services_nothing_else(overlay: str) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pods(overlay).items()}
    found = dict(selectors(overlay))
    assert len(found) == 6
    for name, selector in found.items():
        assert selector.items() <= labels["mtls-as"].items(), name
        is_for_both = name.startswith("NetworkPolicy")
        assert (selector.items() <= labels["mtls-as-schema"].items()) == is_for_both, name


def test_services_and_policies_name_ports_that_there_are(overlay: str, settings: Settings) -> None:
    own = container(pods(overlay)["mtls-as"])
    ports = {port["name"]: port["containerPort"] for port in own["ports"]}
    for service in ("mtls-as", "mtls-as-admin"):
        [port] = only(overlay, "Service", service)["spec"]["ports"]
        assert port["targetPort"] in ports
    policy = only(overlay, "NetworkPolicy")["spec"]
    everybody, monitoring = policy["ingress"]
    assert [port["port"] for port in everybody["ports"]] == [ports["token"]]
    assert "from" not in everybody
    assert [port["port"] for port in monitoring["ports"]] == [ports["admin"]]
    assert "from" in monitoring
    assert settings.issuer == "https://" + only(overlay, "Certificate", "mtls-as-server")["spec"]["dnsNames"][0]


def test_a_disruption_always_leaves_a_node(overlay: str) -> None:
    budget, scaler = only(overlay, "PodDisruptionBudget")["spec"], only(overlay, "HorizontalPodAutoscaler")["spec"]
    deployment = only(overlay, "Deployment")
    assert scaler["minReplicas"] > budget["maxUnavailable"] >= 1
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert "replicas" not in deployment["spec"]  # each apply would undo what the scaler did
    target = {name: deployment[name] for name in ("apiVersion", "kind")} | {"name": deployment["metadata"]["name"]}
    assert scaler["scaleTargetRef"] == target


def test_the_scaler_asks_for_a_metric_that_the_adapter_makes_of_one_of_ours(overlay: str) -> None:
    """And for processor time, of which the pods request some."""
    pods_metric, resource = only(overlay, "HorizontalPodAutoscaler")["spec"]["metrics"]
    [rule] = yaml.safe_load((FOLDER / "prometheus-adapter.yaml").read_text())["rules"]
    assert pods_metric["pods"]["metric"]["name"] == rule["name"]["as"]
    [series] = re.findall(r"^(\w+)\{", rule["seriesQuery"])
    assert series.removesuffix("_count") in documented()
    assert re.fullmatch(rule["name"]["matches"], series)
    assert resource["resource"]["name"] in container(pods(overlay)["mtls-as"])["resources"]["requests"]


def test_the_certificate_is_mounted_where_cert_manager_puts_it(overlay: str, settings: Settings) -> None:
    certificate = only(overlay, "Certificate", "mtls-as-server")["spec"]
    volumes = pods(overlay)["mtls-as"]["spec"]["volumes"]
    assert certificate["secretName"] in [volume.get("secret", {}).get("secretName") for volume in volumes]
    assert (settings.tls.certificate.name, settings.tls.private_key.name) == ("tls.crt", "tls.key")
    issuers = [each["metadata"]["name"] for each in rendered(overlay) if each["kind"] == "Issuer"]
    assert issuers == ([certificate["issuerRef"]["name"]] if certificate["issuerRef"]["kind"] == "Issuer" else [])


def test_the_example_changes_what_it_says() -> None:
    assert container(pods("example")["mtls-as"])["image"] == "images.example/mtls-as:0.1.0"
    assert container(pods("example")["mtls-as-schema"])["image"] == "images.example/mtls-as:0.1.0"


ADDRESSES = {"node": "10.0.0.2", "kubelet": "10.0.0.3", "database": "10.0.0.4"}


def mounted(folder: Path, overlay: str, template: Document, secrets: dict[str, dict[str, bytes]]) -> Machine:
    """A pod: its volumes as the kubelet mounts them, and what it may write to."""
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    files, written = dict[str, Path](), dict[str, Path]()
    for mount in container(template)["volumeMounts"]:
        where, volume = mount["mountPath"], volumes[mount["name"]]
        source = folder / mount["name"]
        if "emptyDir" in volume:
            written[where] = owned(source)
            continue
        source.mkdir(parents=True)
        is_ours = volume.get("configMap", {}).get("name") == config_map(overlay)["metadata"]["name"]
        name = volume["secret"]["secretName"] if "secret" in volume else volume["configMap"]["name"]
        texts = {key: value.encode() for key, value in config_map(overlay)["data"].items()}
        for key, content in (texts if is_ours else secrets[name]).items():
            (source / key).write_bytes(content)
        if "secret" in volume:
            hand_over(list(source.iterdir()), mode=volume["secret"]["defaultMode"])
        files[where] = source
    hosts = f"127.0.0.1 localhost\n{ADDRESSES['database']} postgresql.database.svc\n"
    return Machine(
        folder=folder, environment=image_environment(), files=files, written=written, etc={"hosts": hosts},
        user=template["spec"]["securityContext"]["runAsUser"],
    )  # fmt: skip


def answer(probe: Document, ports: dict[str, int]) -> int:
    """The status that the kubelet gets."""
    asked = probe["httpGet"]
    url = f"https://{ADDRESSES['node']}:{ports[asked['port']]}{asked['path']}"
    command = [require_program("curl"), "-sk", "--interface", ADDRESSES["kubelet"], "-o", "/dev/null"]
    done = subprocess.run([*command, "-w", "%{http_code}", url], capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.slow
def test_the_example_serves_as_it_is_rendered(tmp_path: Path) -> None:
    """The Job and then a pod, with their volumes, users and probes, on a PostgreSQL that proves its name."""
    tmp_path.chmod(0o755)
    authority, clients = Authority.create("Server CA"), Authority.create("Client CA")
    authority.write(tmp_path, "ca")
    server = authority.issue_server("token.example")
    of_database = authority.issue_server("postgresql.database.svc")
    private = tmp_path / "private"
    private.mkdir()
    (private / "password").write_text("only-for-tests")
    hand_over([*of_database.write(private, "database"), private / "password"], group=999)
    secrets = {
        "mtls-as-server": {"tls.crt": server.chain_pem.encode(), "tls.key": server.key_pem.encode()},
        "mtls-as-storage": {"storage.key": encode_base64url(bytes(range(32))).encode()},
        "mtls-as-database": {"password": b"only-for-tests", "ca.crt": authority.pem.encode()},
        "mtls-as-clients": {"ca.crt": clients.pem.encode()},
    }
    pgdata = {where: owned(tmp_path / f"pg{n}", user=999) for n, where in enumerate((DATA, SOCKETS, "/tmp"))}
    (tmp_path / "database").mkdir()
    database = Machine(
        folder=tmp_path / "database", environment={"PATH": f"{programs()}:/usr/bin:/bin", "TZ": "UTC"}, user=999,
        files={"/run/secrets": private}, written=pgdata, etc={"passwd": "service:x:999:999::/:\n"},
    )  # fmt: skip
    files = ("-c", "ssl_cert_file=/run/secrets/database.pem", "-c", "ssl_key_file=/run/secrets/database-key.pem")
    job, template = pods("example")["mtls-as-schema"], pods("example")["mtls-as"]
    own = container(template)
    ports = {port["name"]: port["containerPort"] for port in own["ports"]}
    with (
        own_network(ADDRESSES.values()),
        serving_database(
            database,
            address=ADDRESSES["database"],
            password_file="/run/secrets/password",
            command=("postgres", "-c", "ssl=on", *files),
        ),
    ):
        made = mounted(tmp_path / "job", "example", job, secrets).run("mtls-as", *container(job)["args"])
        assert made.returncode == 0, made.stderr
        with mounted(tmp_path / "pod", "example", template, secrets).running("mtls-as", *own["args"]) as node:
            node.wait_for(lambda: answer(own["startupProbe"], ports) == 200)
            assert {answer(own[name], ports) for name in ("livenessProbe", "readinessProbe")} == {200}
            files = clients.issue("reports", san=[dns("reports.example")]).write(tmp_path, "client")
            command = [require_program("curl"), "-sS", "--cacert", str(tmp_path / "ca.pem"), "--cert", str(files[0])]
            command += ["--key", str(files[1]), "-d", "grant_type=client_credentials&client_id=reports"]
            command += ["--resolve", f"token.example:{ports['token']}:{ADDRESSES['node']}"]
            command += [f"https://token.example:{ports['token']}/token"]
            done = subprocess.run(command, capture_output=True, text=True)
            assert "access_token" in done.stdout, done.stdout + done.stderr
            node.child.send_signal(signal.SIGTERM)
            node.wait_for(lambda: answer(own["readinessProbe"], ports) == 503)
            assert answer(own["livenessProbe"], ports) == 200
