"""How many cases each property is tried on: few in `make test`, 500 with HYPOTHESIS_PROFILE=full (`make test-all`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_CALM = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("quick", max_examples=42, derandomize=True, database=None, **_CALM)
settings.register_profile("full", max_examples=500, **_CALM)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
