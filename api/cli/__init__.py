"""The command line: `vouch`. One module a group of commands; `api.cli.call` holds what all of them share."""

from api.cli.app import app, main

__all__ = ["app", "main"]
