"""The benchmark of trust domains runs, on a small scale; its figures are for whoever runs it on the full one."""

import re
import subprocess
import sys

from tests.cli.workplace import ROOT


def test_it_prints_a_table_and_the_ratio() -> None:
    command = [sys.executable, "scripts/bench_trust.py", "--domains", "10", "--clients", "100", "--verdicts", "20"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.stderr == ""
    assert result.returncode in {0, 1}
    assert (
        len(re.findall(r"^\| (?:one|many) domains? \| \d+ µs \| \d+ µs \| \d+ µs \|$", result.stdout, re.MULTILINE))
        == 2
    )
    assert re.search(r"^ratio of the medians: \d\.\d\d \(limit 1\.2\)$", result.stdout, re.MULTILINE)
