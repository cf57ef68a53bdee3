"""`vouch prompts`: the library of prompts, from a draft to what callers get, and back."""

from api.cli.prompts import library, testing
from api.cli.prompts.group import commands

__all__ = ["commands", "library", "testing"]
