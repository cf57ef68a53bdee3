"""Workflows: declared steps with checks between them, and people where it matters."""
