"""A long talk with the real server: its memory stays as it was.

Here it lasts minutes; `python benchmarks/live.py --soak 3600` is the same for an hour.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "live.py"
SOAK_S = 180
WARM_UP_TURNS = 3
MOST_GROWTH_MB = 30.0
"""A turn keeps some small pictures that say why, about 0.1 MB; a leak of sound or frames is more
than this in a minute."""


@pytest.mark.slow
def test_memory_is_flat_over_a_long_talk():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--soak", str(SOAK_S)],
        capture_output=True,
        text=True,
        timeout=10 * SOAK_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    memory_mb = [mb for _, mb in json.loads(done.stdout)["memory_mb"]]
    assert len(memory_mb) >= 3 * WARM_UP_TURNS
    early = median(memory_mb[WARM_UP_TURNS : 2 * WARM_UP_TURNS])
    assert median(memory_mb[-WARM_UP_TURNS:]) - early < MOST_GROWTH_MB
