"""What the library behind the engine says goes to our log, and nowhere else."""

from __future__ import annotations

import logging

_log = logging.getLogger("vouch.engine")


class Forward(logging.Handler):
    """Sends what the engine behind says to our log, without the values that an error may quote."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.log(record.levelno, "%s", record.getMessage())


def quiet() -> None:
    """Let the engine behind write to our log, from warnings up, and nowhere else."""
    logger = logging.getLogger("dbos")
    if not any(isinstance(handler, Forward) for handler in logger.handlers):
        logger.handlers = [Forward(logging.WARNING)]
        logger.propagate = False
        logger.setLevel(logging.WARNING)
