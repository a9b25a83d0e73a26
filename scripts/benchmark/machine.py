"""The machine: what must be installed, which core is whose, and whether somebody else is using them."""

import os
import platform
import re
import resource
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmark import interpreter
from benchmark.failures import BenchmarkError

CONTENDER_CORE: Final = 0
LOAD_CORE: Final = 1
_PACKAGES: Final = {
    "wrk": "wrk",
    "nginx": "nginx-light",
    "taskset": "util-linux",
    "node": "nodejs",
    "npm": "npm",
}
_STREAM_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_OPEN_FILES: Final = 16_384


def require(programs: set[str]) -> None:
    """Raises `BenchmarkError`, which says what to install, unless all programs are there."""
    missing = [_PACKAGES[name] for name in sorted(programs) if shutil.which(name) is None]
    if "nginx" in programs and not _STREAM_MODULE.exists():
        missing.append("libnginx-mod-stream")
    if missing:
        raise BenchmarkError(f"missing; on Debian and Ubuntu: apt-get install {' '.join(missing)}")
    if len(os.sched_getaffinity(0)) < LOAD_CORE + 1:
        raise BenchmarkError("two cores are needed: one for the contender, one for the load")


def allow_many_files() -> None:
    """Let this process and those that it starts have as many connections open as the rows need."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_OPEN_FILES, hard), hard))


def describe() -> dict[str, str | int]:
    """What figures depend on beside the project."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": interpreter.describe(),
    }


def on_core(core: int, *command: str) -> list[str]:
    """A command that runs on one core alone."""
    return ["taskset", "-c", str(core), *command]


def load_average() -> float:
    """How many processes wanted to run, as the mean of the last minute."""
    return os.getloadavg()[0]


def cpu_seconds(process: int) -> float:
    """The processor time of a process and its children that run."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return sum(_own_cpu_seconds(each) for each in (process, *map(int, children)))


def resident_bytes(process: int) -> int:
    """How much memory a process has, shared pages included."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[0]) * 1024


@dataclass(frozen=True, slots=True)
class CoreTime:
    """How long a core was busy so far, whoever it was."""

    core: int
    busy_seconds: float

    @classmethod
    def now(cls, core: int) -> "CoreTime":
        fields = re.findall(rf"^cpu{core} (.*)$", Path("/proc/stat").read_text(), re.MULTILINE)[0].split()
        user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
        return cls(core, (user + nice + system + irq + softirq + steal) / _TICKS)

    def foreign_share(self, seconds: float, own_seconds: float) -> float:
        """The share of the core that others had since then, of so many seconds, of which we had `own_seconds`."""
        busy = CoreTime.now(self.core).busy_seconds - self.busy_seconds
        return max(0.0, busy - own_seconds) / seconds


def _own_cpu_seconds(process: int) -> float:
    # The name, in parentheses, may hold spaces.
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    return next(iter(re.findall(r"^model name\s*: (.*)$", text, re.MULTILINE)), platform.machine())
