"""Agents: steps that decide by themselves what to do next, within what their spec allows."""
