"""One tree of errors. Each says, by its class, whether trying again can help and how a door should answer.

VouchError
├── InvalidInput          the caller's request is wrong           HTTP 422, exit 2
├── NotFound              no such thing, or not yours to see      HTTP 404, exit 1
├── Conflict              the thing has changed or exists already HTTP 409, exit 1
│   └── PreconditionFailed the change is not of the newest version  HTTP 412, exit 1
├── PreconditionRequired  a change must say what it is of       HTTP 428, exit 1
├── Unauthenticated       no key, or a key that does not hold     HTTP 401, exit 1
├── Forbidden             the key's role does not reach this      HTTP 403, exit 1
├── ParseFailure          a file cannot become text               recorded on the document
├── IntegrityFailure      stored data does not match its hash     HTTP 500, exit 1
└── Unavailable           a dependency is away; try again         HTTP 503, exit 3
    ├── NoModel           none is configured that it would take   HTTP 503, exit 3
    └── GenerationFailed  the model gave no whole answer          HTTP 502, exit 3
        └── UnusableReply it replied, but not with a usable one   HTTP 502, exit 3
"""

from __future__ import annotations

from typing import ClassVar


class VouchError(Exception):
    """Base of every error raised on purpose. `str(error)` is a sentence that a user can act on."""

    retryable: ClassVar[bool] = False
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    slug: ClassVar[str] = "internal"


class InvalidInput(VouchError):
    """The request itself is wrong; sending it again unchanged cannot help."""

    status = 422
    exit_code = 2
    slug = "invalid-input"


class NotFound(VouchError):
    """There is no such thing, or the asking principal may not know of it: the two look the same."""

    status = 404
    slug = "not-found"


class Conflict(VouchError):
    """The request does not fit the present state of the thing it names."""

    status = 409
    slug = "conflict"


class PreconditionFailed(Conflict):
    """A change was made from a version that is not the newest any more (RFC 9110, section 15.5.13)."""

    status = 412
    slug = "precondition-failed"


class PreconditionRequired(VouchError):
    """A change did not say which version it was made from, so it could undo another's (RFC 6585, section 3)."""

    status = 428
    slug = "precondition-required"


class Unauthenticated(VouchError):
    """No API key was given, or the one given is unknown, expired or revoked."""

    status = 401
    slug = "unauthenticated"


class Forbidden(VouchError):
    """The key is good but its role does not allow this."""

    status = 403
    slug = "forbidden"


class ParseFailure(VouchError):
    """A file cannot be turned into text. Recorded as the reason on a document with status `failed`."""

    status = 422
    slug = "parse-failure"


class IntegrityFailure(VouchError):
    """Something stored does not match the hash or the rule that it was stored under."""

    slug = "integrity"


class Unavailable(VouchError):
    """A dependency (database, model server) is away."""

    retryable = True
    status = 503
    exit_code = 3
    slug = "unavailable"


class NoModel(Unavailable):
    """What was asked for takes a model, and the settings name none: the same again cannot help."""

    retryable = False
    slug = "no-model"


class GenerationFailed(Unavailable):
    """The model server gave no whole answer within its deadline and retry budget."""

    status = 502
    slug = "generation-failed"


class UnusableReply(GenerationFailed):
    """The model server is there and replied, but with nothing that can be used: cut short, withheld, or malformed."""
