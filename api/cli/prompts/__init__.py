"""`vouch prompts`: the library of prompts, from a draft to what callers get, and back."""

from api.cli.prompts import drafts, experiments, files, finding, library, review, runs, testing
from api.cli.prompts.group import commands

__all__ = ["commands", "drafts", "experiments", "files", "finding", "library", "review", "runs", "testing"]
