"""`docs/pki.md` is true: its commands do what it shows, in its order; it names every reason and every metric."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mtls_as.rfc.refusal import Refusal
from tests.authority import Authority, Identity, dns, name, uri
from tests.cli.test_cert_trust import bundle_of, revocation_list
from tests.cli.workplace import ROOT, Workplace

DOCUMENT = (ROOT / "docs" / "pki.md").read_text()
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# Needs a server that runs; tests/http/test_admin.py has it.
ELSEWHERE = "curl --cacert certs/ca.pem https://localhost:9443/health/ready"


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str


def blocks() -> list[Block]:
    return [Block(language, textwrap.dedent(text)) for _, language, text in FENCE.findall(DOCUMENT)]


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Command lines, each with the output that is shown for it; `…` stands for anything."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown


def shows(shown: str, output: str) -> bool:
    pattern = ".*".join(re.escape(part) for part in shown.strip().split("…"))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def tables(text: str) -> Iterator[tuple[str, str]]:
    """The tables of a configuration with what identifies each: its header, and the client where there are many."""
    for table in re.split(r"^(?=\[)", text, flags=re.MULTILINE)[1:]:
        client = re.search(r"^client_id = .*$", table, re.MULTILINE)
        yield table.partition("\n")[0] + (client[0] if client else ""), table


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """A deployment with the files that the document speaks of."""
    workplace = Workplace.make(tmp_path)
    subject = name("Partner CA", organization="Partner")
    ca = Authority.create(subject)
    renewed = Authority.create(subject, private_key=ca.private_key)
    second = Authority.create(subject)
    spire = Authority.create("SPIRE")
    revoked = second.issue(name("gone", organization="Partner"), san=[dns("orders.partner.example")])
    identities: dict[str, Identity] = {
        "partner-ca": ca,
        "partner-ca-renewed": renewed,
        "partner-ca-2": second,
        "orders": orders(ca),
        "orders-2": orders(second),
        "revoked": revoked,
        "stranger": Authority.create("Nobody's CA").issue("reports", san=[dns("reports.example")]),
        "svid": spire.issue("w", san=[uri("spiffe://workloads.example/batch/nightly")]),
    }
    for stem, identity in identities.items():
        workplace.write(f"certs/{stem}.pem", identity.pem)
    workplace.write("certs/partner.crl", revocation_list(second, revoked, hours=1))
    workplace.write("workloads.bundle.json", bundle_of(spire))
    return workplace


def orders(authority: Authority) -> Identity:
    until = datetime.now(UTC) + timedelta(days=90)
    subject = name("orders", organization="Partner")
    return authority.issue(subject, san=[dns("orders.partner.example")], not_after=until)


def test_every_command_does_what_is_shown(place: Workplace) -> None:
    """In the order of the document, each TOML block added to the configuration, or in the place of its predecessor."""
    base, added, ran = place.config.read_text(), dict[str, str](), list[str]()
    for block in blocks():
        if block.language == "toml":
            added |= dict(tables(block.text))
            place.config.write_text("\n".join([base, *added.values()]))
        for line, shown in commands(block.text) if block.language == "console" else ():
            program, *arguments = shlex.split(line)
            if program == "cp":
                source, target = (place.folder / argument for argument in arguments)
                target.write_bytes(source.read_bytes())
            elif line != ELSEWHERE:
                assert program == "mtls-as"
                output = place.succeed(*arguments)
                assert shows(shown, output), f"$ {line}\n{output}"
                ran.append(line)
    assert len(ran) > 15


def test_the_cron_line_is_a_command(place: Workplace) -> None:
    """The schedule and the path aside."""
    [line] = [block.text for block in blocks() if block.language == "crontab"]
    arguments = shlex.split(line.partition("mtls-as ")[2].replace("/etc/mtls-as/config.toml", str(place.config)))
    assert place.succeed(*arguments) == ""


def test_every_reason_to_refuse_a_certificate_has_its_place() -> None:
    """Once: those that the code of `pki/` knows at least, and none that does not exist."""
    section = DOCUMENT.partition("## Where to look for each reason")[2].partition("| Cause | Codes |")[2]
    documented = re.findall(r"`([a-z_]+)`", section.partition("\n\n")[0])
    assert len(documented) == len(set(documented))
    assert set(documented) <= set(Refusal)
    sources = [file.read_text() for file in (ROOT / "mtls_as" / "pki").rglob("*.py")]
    raised = {Refusal[member] for source in sources for member in re.findall(r"Refusal\.([A-Z_]+)", source)}
    assert len(raised) > 20
    assert raised <= set(documented)


def test_links_lead_somewhere() -> None:
    """To files that are there, and to headings of this one."""
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^## (.*)$", DOCUMENT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", DOCUMENT):
        path, _, fragment = target.partition("#")
        assert (ROOT / "docs" / path).exists(), target
        assert path or fragment in headings, target
