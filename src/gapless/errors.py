"""Every error gapless raises, and who is responsible for it.

The tree has one branch per *responsible party*, because that decides the reaction
(`gapless.core.reaction` holds the decision itself):

* `GaplessError`
    * `UsageError` -- the caller broke our contract; raised before any I/O
        * `ConfigError`
        * `NotSynced` -- a book was read that is not proven
        * `SlowConsumer` -- the caller fell behind and asked to be failed for it
    * `TransportError` -- the network let us down
        * `DialFailed`, `ConnectionLost`, `Stalled`, `MessagesLost`
    * `VenueError` -- the venue understood us and said no
        * `RateLimited`, `SubscriptionRejected`, `RequestRejected`, `LoginRejected`
    * `ProtocolViolation` -- the venue contradicted the protocol or its own documents
        * `DecodeError`, `ChecksumMismatch`
    * `NotSent`, `OutcomeUnknown` -- what became of a request

`IllegalTransition` stands outside: it is a bug in gapless, and nothing catches it.
Messages are built from the attributes, so handlers never have to read text.
"""

from __future__ import annotations

__all__ = [
    "ChecksumMismatch",
    "ConfigError",
    "ConnectionLost",
    "DecodeError",
    "DialFailed",
    "GaplessError",
    "IllegalTransition",
    "LoginRejected",
    "MessagesLost",
    "NotSent",
    "NotSynced",
    "OutcomeUnknown",
    "ProtocolViolation",
    "RateLimited",
    "RequestRejected",
    "SlowConsumer",
    "Stalled",
    "SubscriptionRejected",
    "TransportError",
    "UsageError",
    "VenueError",
    "printable",
]

_TEXT_MAX = 256


def printable(text: str) -> str:
    """Return remote ``text`` safe to show: control characters escaped, 256 characters at most."""
    head = text[:_TEXT_MAX]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    return safe + ("..." if len(text) > _TEXT_MAX else "")


class GaplessError(Exception):
    """Base of every error gapless raises on purpose."""


class UsageError(GaplessError):
    """The caller asked for something the API does not allow."""


class ConfigError(UsageError):
    """A setting is missing or contradicts another."""


class NotSynced(UsageError):
    """A book was read while its continuity is not proven.

    Attributes:
        symbol: The instrument.
        because: Why it is not readable now.
    """

    def __init__(self, symbol: str, because: str) -> None:
        self.symbol = symbol
        self.because = because
        super().__init__(f"the book of {printable(symbol)} is not proven now: {because}")


class SlowConsumer(UsageError):
    """The consumer fell behind by more than the outlet holds.

    Attributes:
        capacity: How many events the outlet holds.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        super().__init__(f"the consumer is more than {capacity} events behind")


class TransportError(GaplessError):
    """The network failed.  The same attempt may succeed later."""


class DialFailed(TransportError):
    """No usable connection was established.

    Attributes:
        stage: ``dns``, ``proxy``, ``tcp``, ``tls``, ``upgrade``, ``login`` or ``subscribe``.
        endpoint: URL that was dialled, without credentials or query.
        detail: What went wrong, already safe to print.
        status: HTTP status that the upgrade got, or `None`.
    """

    def __init__(self, stage: str, endpoint: str, detail: str, status: int | None = None) -> None:
        self.stage = stage
        self.endpoint = endpoint
        self.detail = detail
        self.status = status
        super().__init__(f"{printable(endpoint)}: {stage} failed: {detail}")


class ConnectionLost(TransportError):
    """An established connection ended.

    Attributes:
        code: WebSocket close code received, or `None` if the peer sent none.
        reason: Close reason received, safe to print; empty if none.
    """

    def __init__(self, code: int | None = None, reason: str = "") -> None:
        self.code = code
        self.reason = printable(reason)
        super().__init__(
            "lost without a close frame"
            if code is None
            else f"closed with {code} {self.reason}".strip()
        )


class Stalled(TransportError):
    """The connection is open but has been silent for longer than it may be.

    Attributes:
        silent_ns: Time since the last sign of life, in nanoseconds.
        evidence: What was silent, and what was not.
    """

    def __init__(self, silent_ns: int, evidence: str) -> None:
        self.silent_ns = silent_ns
        self.evidence = evidence
        super().__init__(f"silent for {silent_ns / 1e9:.1f} s: {evidence}")


class MessagesLost(TransportError):
    """The connection's own numbers have a hole: whatever it carries may lack something.

    Attributes:
        first: First number missing.
        last: Last number missing.
    """

    def __init__(self, first: int, last: int) -> None:
        self.first = first
        self.last = last
        super().__init__(f"frames {first} to {last} of this connection never came")


class VenueError(GaplessError):
    """The venue answered, and the answer was no."""


class RateLimited(VenueError):
    """Too much, too fast, or not welcome for now.

    Attributes:
        status: HTTP status, close code or venue code that said so.
        retry_after_ns: How long the venue asks us to stay away, or `None` if it did not say.
    """

    def __init__(self, status: int, retry_after_ns: int | None = None) -> None:
        self.status = status
        self.retry_after_ns = retry_after_ns
        wait = "" if retry_after_ns is None else f", stay away for {retry_after_ns / 1e9:.1f} s"
        super().__init__(f"limited by the venue ({status}){wait}")


class LoginRejected(VenueError):
    """Credentials, signature or clock refused.

    Attributes:
        code: The venue's error code or close code, or `None` if there is none.
        detail: What was wrong, safe to print and without secrets.
        permanent: Whether the venue says that trying again is of no use.
    """

    def __init__(
        self, code: int | None = None, detail: str = "", *, permanent: bool = False
    ) -> None:
        self.code = code
        self.detail = printable(detail)
        self.permanent = permanent
        said = "" if code is None else f"code {code} "
        super().__init__(f"login refused: {said}{self.detail}".rstrip(" :"))


class SubscriptionRejected(VenueError):
    """The venue refused one topic; the others are unaffected.

    Attributes:
        topic: The venue's name of the topic.
        code: The venue's error code, or `None` where it only left the topic out.
        detail: The venue's words, safe to print.
    """

    def __init__(self, topic: str, code: int | None, detail: str) -> None:
        self.topic = topic
        self.code = code
        self.detail = printable(detail)
        said = "left out of the reply" if code is None else f"code {code}"
        super().__init__(f"{printable(topic)} refused: {said} {self.detail}".rstrip())


class RequestRejected(VenueError):
    """The venue refused a request.  It certainly did not take effect.

    Attributes:
        code: The venue's error code.
        detail: The venue's words, safe to print.
    """

    def __init__(self, code: int, detail: str) -> None:
        self.code = code
        self.detail = printable(detail)
        super().__init__(f"refused: code {code} {self.detail}")


class ProtocolViolation(GaplessError):
    """The venue sent something that the protocol or its documentation rules out.

    Attributes:
        close_code: WebSocket close code that answers it (RFC 6455, 7.4.1).
    """

    def __init__(self, detail: str, close_code: int = 1002) -> None:
        self.close_code = close_code
        super().__init__(detail)


class DecodeError(ProtocolViolation):
    """A frame could not be decoded with the venue's codec."""


class ChecksumMismatch(ProtocolViolation):
    """Our book and the venue's book disagree."""


class NotSent(GaplessError):
    """The request certainly never left this machine.  It is safe to repeat."""


class OutcomeUnknown(GaplessError):
    """The request left this machine and no answer came back.

    It may have taken effect.  Ask the venue before repeating it.
    """


class IllegalTransition(AssertionError):
    """A bug in gapless: a state machine was told of the impossible."""
