"""A long talk with the real server: its memory stays as it was.

Here it lasts minutes; `python benchmarks/live.py --soak 3600` is the same for an hour.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "live.py"
SOAK_S = 600
WARM_UP_S = 120
"""Memory rises by some 40 MB in the first minute and a half."""
MOST_GROWTH_MB = 30.0
"""Of the least of the first to the least of the last third, five minutes apart: work that goes on
takes some 40 MB more for a moment, so the least is what is held throughout. It changed by 1 MB;
pictures that were kept would be 2,700 MB, sound at the browser's rate 58."""


@pytest.mark.slow
def test_memory_is_flat_over_a_long_talk():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--soak", str(SOAK_S)],
        capture_output=True,
        text=True,
        timeout=3 * SOAK_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    warm = [mb for at_s, mb in json.loads(done.stdout)["memory_mb"] if at_s > WARM_UP_S]
    part = len(warm) // 3
    assert part >= 5
    assert min(warm[-part:]) - min(warm[:part]) < MOST_GROWTH_MB
