"""What 1,000,000 registered clients cost a server, compared with 10; `--help` tells more.

.venv/bin/python scripts/bench_scale.py
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))  # it starts servers and authorities as the tests do
    runpy.run_module("tests.scale.bench", run_name="__main__", alter_sys=True)
