"""Time that can be given: the real one in use, a scripted one in tests."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "MonotonicClock"]


class Clock(Protocol):
    """Anything that knows what time it is."""

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""


class MonotonicClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        return time.monotonic()
