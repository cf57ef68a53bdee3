"""Kinds of steps: one module a family. A kind reads its `with`, does one thing, and says what came of it."""
