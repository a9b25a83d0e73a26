"""deploy/compose.yaml and deploy/nginx-stream.conf: well-formed, confined, and run by the real programs as they say."""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mtls_as.cli.application import application
from mtls_as.config import load_settings
from tests.authority import Authority, Identity, dns
from tests.cli.workplace import ROOT
from tests.deploy.database import ROLE, SOCKETS, programs, serving_database
from tests.deploy.documented import shell_blocks
from tests.deploy.image import Machine, Program, hand_over, own_network, owned, require_tool
from tests.deploy.test_dockerfile import commands as image_commands
from tests.deploy.test_dockerfile import image_environment
from tests.programs import require_program

FILE = ROOT / "deploy" / "compose.yaml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
CONFIG = ROOT / "deploy" / "compose" / "config.toml"
NGINX = (ROOT / "deploy" / "nginx-stream.conf").read_text()
NODES = [name for name in SERVICES if name.startswith("node-")]
OURS = [*NODES, "schema"]
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def address(service: str) -> str:
    return str(SERVICES[service]["networks"]["inside"]["ipv4_address"])


def test_it_keeps_to_the_compose_specification() -> None:
    command = [require_tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", FILE]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_confined(name: str) -> None:
    """Nobody is root, holds a capability, gains a privilege or writes to his image; and no tag floats."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    if name in OURS:
        assert service["image"] == "mtls-as"  # which says itself as whom it runs
        assert (FILE.parent / service["build"]).resolve() == ROOT
    else:
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
        assert re.fullmatch(r"\w+:\d+(\.\d+)?-\w+", service["image"])


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_are_files(name: str) -> None:
    """That are declared, outside of what is under version control; and nothing secret is in the environment."""
    for secret in SERVICES[name].get("secrets", ()):
        assert COMPOSE["secrets"][secret] == {"file": f"secrets/{secret}"}
    for variable, value in SERVICES[name].get("environment", {}).items():
        assert not re.search("PASSWORD|KEY|SECRET|TOKEN", variable) or value.startswith("/run/secrets/")
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("name", OURS)
def test_a_node_has_what_its_configuration_names(name: str) -> None:
    named = set(re.findall(r"/run/secrets/([\w.-]+)", CONFIG.read_text()))
    assert named == set(SERVICES[name]["secrets"])
    assert SERVICES[name]["configs"] == [{"source": "config.toml", "target": "/etc/mtls-as/config.toml"}]


@pytest.mark.parametrize("name", OURS)
def test_the_command_lines_are_ours(name: str) -> None:
    """Those of the image where the file says none."""
    entry = image_commands()["start"][:1]
    check = SERVICES[name]["healthcheck"].get("test", [])[1:]
    for program, *arguments in filter(None, [entry + SERVICES[name].get("command", ["serve"]), check]):
        assert program == "mtls-as"
        _, command, rest = application.resolve_command(click.Context(application), arguments)
        assert command is not None
        command.make_context(name, rest)


def test_nodes_wait_for_the_schema_and_everybody_for_whom_they_need() -> None:
    for name in NODES:
        assert SERVICES[name]["depends_on"] == {"schema": {"condition": "service_completed_successfully"}}
        assert set(SERVICES["nginx"]["depends_on"]) == set(NODES)
    for name in set(SERVICES) - {"schema"}:
        assert "test" in SERVICES[name].get("healthcheck", {}) or name == "nginx"


def test_times_fit_each_other() -> None:
    """A node is killed only after it could have ended; an idle connection is ended by the node, not by nginx."""
    settings = load_settings(CONFIG)
    for name in NODES:
        grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace > settings.timeouts.drain + settings.timeouts.shutdown + 10
    [proxy_timeout] = re.findall(r"proxy_timeout (\d+)s;", NGINX)
    assert int(proxy_timeout) > settings.timeouts.idle
    [failed] = re.findall(r"fail_timeout=(\d+)s;", NGINX)[:1]
    assert settings.timeouts.drain >= int(failed)


def test_names_and_addresses_lead_somewhere() -> None:
    """nginx knows every node; all are within the network; the admin listener lets in it and nobody else."""
    assert sorted(re.findall(r"^ +server ([\w-]+):8443", NGINX, re.MULTILINE)) == sorted(NODES)
    network = ip_network(COMPOSE["networks"]["inside"]["ipam"]["config"][0]["subnet"])
    addresses = [address(name) for name in SERVICES]
    assert len(set(addresses)) == len(SERVICES)
    assert all(ip_address(each) in network for each in addresses)
    assert str(network) in CONFIG.read_text()
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["nginx"]


@dataclass(frozen=True)
class Site:
    """What the file describes, running; each service in a root of its own, all on the addresses of one network."""

    folder: Path
    client: Identity

    def machine(self, name: str, **options: Any) -> Machine:
        """As the service says: user, files, places to write to, hosts."""
        service, folder = SERVICES[name], self.folder / name
        etc = folder / "configs"
        etc.mkdir(parents=True)
        for config in service.get("configs", ()):
            self._place(config["source"], etc / Path(config["target"]).name, address(name))
        user = int(service.get("user", "65532").partition(":")[0])
        written = [mount.partition(":")[0] for mount in service["tmpfs"]]
        written += [volume.partition(":")[2] for volume in service.get("volumes", ())]
        secrets = folder / "secrets"
        secrets.mkdir()
        for secret in service.get("secrets", ()):
            shutil.copy(self.folder / "deploy" / "secrets" / secret, secrets / secret)
        hand_over(list(secrets.iterdir()))
        targets = {str(Path(config["target"]).parent): etc for config in service.get("configs", ())}
        hosts = "".join(f"{address(other)} {other}\n" for other in SERVICES)
        return Machine(
            folder=folder,
            files=targets | {"/run/secrets": secrets},
            written={where: owned(folder / f"written{n}", user=user) for n, where in enumerate(written)},
            user=user,
            groups=tuple(map(int, service.get("group_add", ()))),
            etc={"hosts": f"127.0.0.1 localhost\n{hosts}", "passwd": f"service:x:{user}:{user}::/:\n"},
            **options,
        )

    def _place(self, config: str, file: Path, own: str) -> None:
        """A configuration; here all share the ports of one machine, so each binds its own address instead of any."""
        text = (FILE.parent / COMPOSE["configs"][config]["file"]).read_text()
        file.write_text(text.replace('"0.0.0.0:', f'"{own}:').replace("listen 8443", f"listen {own}:8443"))

    def token(self) -> tuple[int, dict[str, Any]]:
        """A token by the front, for the client's certificate: curl's exit status, and the answer."""
        files = self.client.write(self.folder, "client")
        command = [require_program("curl"), "-sS", "--max-time", "10", "--cacert", str(self.folder / "ca.pem")]
        command += ["--cert", str(files[0]), "--key", str(files[1]), "-d", "grant_type=client_credentials"]
        command += ["-d", "client_id=reports", "--resolve", f"as.example:8443:{address('nginx')}"]
        done = subprocess.run([*command, "https://as.example:8443/token"], capture_output=True, text=True)
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else {"stderr": done.stderr}


@contextlib.contextmanager
def database(site: Site) -> Iterator[None]:
    """PostgreSQL by the command of the file, and healthy by its check."""
    machine = site.machine("postgresql", environment={"PATH": f"{programs()}:/usr/bin:/bin", "TZ": "UTC"})
    service = SERVICES["postgresql"]
    environment = service["environment"]
    assert environment["POSTGRES_USER"] == environment["POSTGRES_DB"] == ROLE
    assert environment["POSTGRES_INITDB_ARGS"] == "--auth-host=scram-sha-256"
    with serving_database(
        machine,
        address=address("postgresql"),
        password_file=environment["POSTGRES_PASSWORD_FILE"],
        command=service["command"],
    ):
        assert machine.run(*service["healthcheck"]["test"][1:], f"--host={SOCKETS}").returncode == 0
        yield


@contextlib.contextmanager
def node(site: Site, name: str) -> Iterator[Program]:
    machine = site.machine(name, environment=image_environment())
    with machine.running(*image_commands()["start"]) as running:
        running.wait_for(lambda: machine.run(*SERVICES[name]["healthcheck"]["test"][1:]).returncode == 0)
        yield running


@contextlib.contextmanager
def front(site: Site, is_ready: Callable[[], bool]) -> Iterator[Program]:
    """nginx of this machine, by the command of the file; Debian has the module for streams apart."""
    machine = site.machine("nginx", environment={"PATH": "/usr/sbin:/usr/bin:/bin"})
    service = SERVICES["nginx"]
    arguments = [
        part.replace("daemon off;", f"load_module {STREAM_MODULE}; daemon off;") for part in service["command"]
    ]
    with machine.running(*service["entrypoint"], *arguments) as running:
        try:
            running.wait_for(is_ready)
            yield running
        finally:  # killed, it would leave its workers behind
            running.end()


@pytest.mark.slow
def test_two_nodes_behind_nginx_issue_tokens_to_the_certificate_that_arrives(tmp_path: Path) -> None:
    """By the files as they are, with secrets made by the documented commands; and with either node alone."""
    for program in ("nginx", "openssl", "curl"):
        require_program(program)
    if not STREAM_MODULE.exists():
        require_program("the stream module of nginx")
    tmp_path.chmod(0o755)
    authority = Authority.create("Server CA")
    client_authority = Authority.create("Client CA")
    authority.write(tmp_path, "ca")
    site = Site(tmp_path, client_authority.issue("reports", san=[dns("reports.example")]))
    with own_network(map(address, SERVICES)), contextlib.ExitStack() as stack:
        (tmp_path / "deploy").mkdir()
        authority.issue_server("as.example").write(tmp_path, "server")
        client_authority.write(tmp_path, "client-ca")
        [block] = shell_blocks("operations.md", "Compose", containing="secrets/storage.key")
        script = block.replace("/etc/ssl/", f"{tmp_path}/")
        subprocess.run(["bash", "-ec", script], cwd=tmp_path, check=True, capture_output=True)
        stack.enter_context(database(site))
        schema = site.machine("schema", environment=image_environment()).run("mtls-as", *SERVICES["schema"]["command"])
        assert schema.returncode == 0, schema.stderr
        assert "database made" in schema.stdout
        nodes = {name: stack.enter_context(node(site, name)) for name in NODES}
        balancer = stack.enter_context(front(site, lambda: site.token()[0] == 0))
        for _ in range(4):
            status, answer = site.token()
            assert (status, answer["token_type"]) == (0, "Bearer"), answer
        for running in nodes.values():  # each has served some; the event log is written a moment later
            running.wait_for(lambda log=running.log: '"client_id":"reports"' in log.read_text())
        assert nodes["node-a"].end() == 0
        for _ in range(4):
            status, answer = site.token()
            assert (status, answer.get("token_type")) == (0, "Bearer"), balancer.log.read_text()
