"""Sending mail through one server (RFC 5321), encrypted unless it is on this machine."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from kernel.errors import InvalidInput, Unavailable

HERE = ("localhost", "127.0.0.1", "::1")
PORTS = {"smtp": 587, "smtps": 465}
LONGEST_SECONDS = 60.0
PERMANENT = 500
SHOWN = 300


class MailRefused(InvalidInput):
    """The server will not take the mail, now or later."""


class SmtpSender:
    """Hands messages to a mail server: `smtps://…`, or `smtp://…` with STARTTLS.

    Raises InvalidInput for another URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url.strip())
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in PORTS or not parts.hostname or port == -1:
            raise InvalidInput("workflow_smtp_url must be smtp:// or smtps://, a host, and a port if it has another")
        self.host = parts.hostname
        self._port = port or PORTS[parts.scheme]
        self._tls = parts.scheme == "smtps"
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")

    def send(self, sender: str, to: Sequence[str], message: bytes, seconds: float) -> list[str]:
        """Hand a message over to all of `to`; those of them whom the server refused, where it took it for others.

        Raises MailRefused where it took it for nobody, and Unavailable where that may pass or nobody knows.
        """
        timeout = max(0.001, min(seconds, LONGEST_SECONDS))
        try:
            with self._session(sender, timeout) as session:
                return sorted(session.sendmail(sender, list(to), message))
        except smtplib.SMTPRecipientsRefused as error:
            worst = min(code for code, _ in error.recipients.values())
            raise self._error(worst, "takes mail for none of the recipients") from error
        except smtplib.SMTPNotSupportedError as error:
            raise InvalidInput(f"the mail server {self.host} offers no encryption (STARTTLS)") from error
        except smtplib.SMTPResponseException as error:
            raise self._error(error.smtp_code, f"answered {error.smtp_code} {_words(error.smtp_error)}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable(f"the mail server {self.host} could not be reached, or broke off: {error}") from error

    @contextmanager
    def _session(self, sender: str, timeout: float) -> Iterator[smtplib.SMTP]:
        name = sender.rpartition("@")[2]
        if self._tls:
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self._port, local_hostname=name, timeout=timeout, context=ssl.create_default_context()
            )
        else:
            session = smtplib.SMTP(self.host, self._port, local_hostname=name, timeout=timeout)
        try:
            if not self._tls and self.host not in HERE:
                session.starttls(context=ssl.create_default_context())
            if self._user:
                session.login(self._user, self._password)
            yield session
            _goodbye(session)
        finally:
            session.close()

    def _error(self, code: int, what: str) -> InvalidInput | Unavailable:
        sort = MailRefused if code >= PERMANENT else Unavailable
        return sort(f"the mail server {self.host} {what}")


def _words(said: bytes | str) -> str:
    text = said if isinstance(said, str) else said.decode(errors="replace")
    return " ".join(text.split())[:SHOWN]


def _goodbye(session: smtplib.SMTP) -> None:
    """The mail is taken by now: how the server ends the session does not matter."""
    try:
        session.quit()
    except (OSError, smtplib.SMTPException):
        return
