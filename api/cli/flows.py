"""The workflows of the workspace of a command; apart from `call`, so that others need not load them."""

from __future__ import annotations

from api.cli.call import Call
from api.flows import Flows


def flows_of(call: Call) -> Flows:
    """The same for the whole call."""
    made: Flows = call.parts.get("flows") or call.parts.setdefault("flows", Flows(call.with_model))
    return made
