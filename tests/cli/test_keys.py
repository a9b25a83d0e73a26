"""`keys`: states that follow the clock, and rotations."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from mtls_as.cli.keys import OVERLAP_SECONDS, PUBLISH_AHEAD_SECONDS
from mtls_as.remote.key_sets import MAX_AGE
from mtls_as.server.clients import ACCESS_TOKEN_LIFETIMES
from tests.cli.workplace import Workplace


def listed(workplace: Workplace) -> dict[str, dict[str, Any]]:
    """The keys by their state, of which each has one here."""
    rows = json.loads(workplace.succeed("keys", "list", "--json"))
    by_state = {row["state"]: row for row in rows}
    assert len(by_state) == len(rows)
    return by_state


def test_a_new_key_is_published_before_it_signs(workplace: Workplace) -> None:
    (old,) = listed(workplace).values()
    assert "signs from" in workplace.succeed("keys", "rotate")
    keys = listed(workplace)
    assert keys.keys() == {"active", "next"}
    assert keys["active"]["kid"] == old["kid"]
    created, activates = (datetime.fromisoformat(keys["next"][name]) for name in ("created_at", "activates_at"))
    assert activates - created == timedelta(seconds=PUBLISH_AHEAD_SECONDS)


def test_rotation_now_keeps_the_old_key_for_its_tokens(workplace: Workplace) -> None:
    (old,) = listed(workplace).values()
    workplace.succeed("keys", "rotate", "--now")
    keys = listed(workplace)
    assert keys.keys() == {"active", "retired"}
    assert keys["retired"]["kid"] == old["kid"]


def test_a_leaked_key_is_withdrawn(workplace: Workplace) -> None:
    (old,) = listed(workplace).values()
    workplace.succeed("keys", "rotate", "--leaked")
    (new,) = listed(workplace).values()
    assert (new["state"], new["kid"] == old["kid"]) == ("active", False)


def test_a_key_for_another_algorithm_says_that_it_is_not_in_use(workplace: Workplace) -> None:
    said = workplace.succeed("keys", "rotate", "--algorithm", "PS256")
    assert "signed with ES256 until tokens.algorithm in config.toml says PS256" in said


def test_the_listing_is_tab_separated(shared: Workplace) -> None:
    header, row = shared.succeed("keys", "list").splitlines()
    assert header.split("\t") == ["kid", "algorithm", "state", "created_at", "activates_at", "expires_at"]
    assert row.split("\t")[1:3] == ["ES256", "active"]


def test_an_unknown_algorithm_is_wrong_usage(shared: Workplace) -> None:
    assert "RS256" in shared.fail("keys", "rotate", "--algorithm", "RS256", status=2)


@pytest.mark.parametrize("command", ["list", "rotate"])
def test_a_missing_configuration_is_named(workplace: Workplace, command: str) -> None:
    workplace.config.unlink()
    assert workplace.fail("keys", command) == "config.toml: there is no such file"


def test_the_times_fit_the_caches_and_the_longest_token() -> None:
    """A verifier works with keys as old as its cache; a token of the longest lifetime outlives none of its keys."""
    assert PUBLISH_AHEAD_SECONDS >= MAX_AGE
    assert max(ACCESS_TOKEN_LIFETIMES) + MAX_AGE <= OVERLAP_SECONDS
