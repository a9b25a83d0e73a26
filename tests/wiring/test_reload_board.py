"""Where workers meet for a reload: who lives, who was asked, and who has told."""

import subprocess
import sys
import time
from pathlib import Path

from mtls_as.server.events import ReloadOutcome
from mtls_as.server.reloading import ProcessReload
from mtls_as.wiring.reload_board import ReloadBoard, reload_folder

SUCCEEDED = ReloadOutcome.SUCCEEDED


def reloaded(board: ReloadBoard, generation: int = 2, *, began: float | None = None) -> None:
    reload = ProcessReload(process=board.process, outcome=SUCCEEDED, generation=generation, problems=("a", "b"))
    board.tell(reload, began=time.monotonic() if began is None else began)


def test_a_fellow_hears_once_why(tmp_path: Path) -> None:
    """And who asks is not its own fellow."""
    one, two = ReloadBoard(tmp_path, process=1), ReloadBoard(tmp_path, process=2)
    assert (one.asked(), two.asked()) == (None, None)
    one.ask("admin call by operator")
    assert (one.asked(), two.asked(), two.asked()) == (None, "admin call by operator", None)
    one.ask("admin call by operator")
    assert two.asked() == "admin call by operator"


def test_two_that_ask_at_once_hear_each_other(tmp_path: Path) -> None:
    """Else each would wait for a reload that the other does not know of."""
    one, two = ReloadBoard(tmp_path, process=1), ReloadBoard(tmp_path, process=2)
    one.ask("of one")
    two.ask("of two")
    assert (one.asked(), two.asked()) == ("of two", "of one")
    assert (one.asked(), two.asked()) == (None, None)


def test_only_a_reload_that_began_afterwards_counts(tmp_path: Path) -> None:
    """Whatever caused it."""
    one, two = ReloadBoard(tmp_path, process=1), ReloadBoard(tmp_path, process=2)
    assert one.others(since=0.0)[0].outcome is ReloadOutcome.INCOMPLETE
    before = time.monotonic()
    since = one.ask("cause")
    reloaded(two, began=before - 1)
    assert [each.outcome for each in one.others(since=since)] == [ReloadOutcome.INCOMPLETE]
    reloaded(two, 7)
    [found] = one.others(since=since)
    assert (found.process, found.outcome, found.generation, found.problems) == (2, SUCCEEDED, 7, ("a", "b"))


def test_who_joins_later_has_not_missed_what_was_asked_before(tmp_path: Path) -> None:
    """It reads the files only after it has joined."""
    one = ReloadBoard(tmp_path, process=1)
    since = one.ask("cause")
    three = ReloadBoard(tmp_path, process=3)
    assert three.asked() is None
    reloaded(three, 1, began=three.joined_at)
    assert [each.outcome for each in one.others(since=since)] == [SUCCEEDED]


def test_the_dead_are_not_waited_for(tmp_path: Path) -> None:
    """A process that was killed leaves its files behind, and no more."""
    one = ReloadBoard(tmp_path, process=1)
    program = (
        "import sys; from pathlib import Path; from mtls_as.wiring.reload_board import ReloadBoard;"
        "board = ReloadBoard(Path(sys.argv[1]), process=2); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert [each.process for each in one.others(since=0.0)] == [2]
        child.kill()
        child.wait()
    assert one.others(since=0.0) == ()
    assert not (tmp_path / "2.alive").exists()


def test_the_folder_is_for_its_user_alone_and_ends(tmp_path: Path) -> None:
    with reload_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0
        board = ReloadBoard(folder)
        board.ask("cause")
    assert not folder.exists()
