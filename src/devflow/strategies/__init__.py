"""The strategies: how traffic moves to a release."""

from __future__ import annotations

from devflow.strategies import atomic

STRATEGIES = {"atomic": atomic}
