"""Load from wrk, and what it measured. A run with any error counts for nothing and ends the benchmark."""

import json
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmark.contenders import Contender
from benchmark.failures import BenchmarkError
from benchmark.machine import CONTENDER_CORE, LOAD_CORE, CoreTime, cpu_seconds, on_core

_SCRIPT: Final = Path(__file__).parent / "load.lua"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for: a path, the forms to post in turn, and whether each is sent over a new connection."""

    path: str
    forms: Sequence[str]
    is_new: bool
    connections: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one run of wrk measured."""

    requests_per_second: float
    p50_seconds: float
    p99_seconds: float
    server_seconds: float
    """Processor time of the contender for each request."""
    foreign_share: float
    """The share of the contender's core that others had."""


def run_load(contender: Contender, request: Request, *, seconds: int, answers: Path) -> Run:
    """Load one contender for so many whole seconds; `answers` gets the bodies of the answers, one in each line.

    Raises `BenchmarkError` unless everything was answered with success.
    """
    forms = answers.with_suffix(".forms")
    forms.write_text("\n".join(request.forms) + "\n")
    url = f"http://127.0.0.1:{contender.load_port}{request.path}"
    arguments = ["-t1", f"-c{request.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(_SCRIPT), url]
    mode = "close" if request.is_new else "keep"
    core, own, began = CoreTime.now(CONTENDER_CORE), cpu_seconds(contender.process), time.monotonic()
    command = on_core(LOAD_CORE, "wrk", *arguments, "--", str(forms), str(answers), mode)
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    own = cpu_seconds(contender.process) - own
    foreign = core.foreign_share(time.monotonic() - began, own)
    found = re.search(r"^RESULT (.*)$", result.stdout, re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"wrk failed: {result.stdout}{result.stderr}")
    figures = json.loads(found[1])
    errors = {name: figures[name] for name in ("connect", "read", "write", "timeout", "status") if figures[name]}
    if errors or not figures["requests"]:
        raise BenchmarkError(f"{contender.name}, {request.path}: {figures['requests']} answers, and errors: {errors}")
    return Run(
        requests_per_second=figures["requests"] / figures["seconds"],
        p50_seconds=figures["p50"],
        p99_seconds=figures["p99"],
        server_seconds=own / figures["requests"],
        foreign_share=foreign,
    )
