"""The way to a server: its name and the connection."""

from mtls_as.doctor.checks.words import seconds
from mtls_as.doctor.findings import Actor, Check, Finding, Step
from mtls_as.doctor.observations import Reach, ServerObservation


def network_findings(server: ServerObservation) -> list[Finding]:
    """DNS and TCP."""
    return [_dns(server), _tcp(server)]


def _dns(server: ServerObservation) -> Finding:
    check = Check("dns", server.place)
    if server.reach is Reach.NO_ADDRESS:
        step = Step(
            who=Actor.YOU,
            what="Check the spelling of the URL, and whether this machine can resolve the name:",
            lines=(f"getent ahosts {server.host}",),
        )
        operator = Step(
            who=server.place.operator, what=f"If nobody can, publish an address for {server.host} in the DNS."
        )
        return check.failure(f"{server.host} has no address: {server.failure}", step, operator)
    return check.ok(f"{server.host} is {', '.join(server.addresses)}")


def _tcp(server: ServerObservation) -> Finding:
    check, place = Check("tcp", server.place), f"{server.host}:{server.port}"
    operator = server.place.operator
    match server.reach:
        case Reach.NO_ADDRESS:
            return check.skipped("there is no address to connect to")
        case Reach.REFUSED:
            you = Step(who=Actor.YOU, what="Check the port in the URL.")
            them = Step(
                who=operator, what=f"Start the server, and let it listen on port {server.port} of that address."
            )
            return check.failure(
                f"{place} refuses connections: the machine answers, and nothing listens there", you, them
            )
        case Reach.TIMEOUT:
            you = Step(who=Actor.YOU, what=f"Check that your firewall lets connections out to {place}.")
            them = Step(
                who=operator, what=f"Check that the server runs, and that a firewall lets port {server.port} in."
            )
            return check.failure(
                f"{place} does not answer: {server.failure}; a firewall drops packets, or the machine is off", you, them
            )
        case Reach.UNREACHABLE:
            step = Step(who=Actor.YOU, what="Check this machine's network: routes, VPN, and whether IPv6 works.")
            return check.failure(f"{place} cannot be reached: {server.failure}", step)
        case Reach.CONNECTED:
            return check.ok(f"connected to {server.addresses[0]} port {server.port} in {seconds(server.seconds)}")
