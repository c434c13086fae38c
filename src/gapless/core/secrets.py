"""What proves to a venue who we are, in a form that never shows itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from gapless.core.codec import Request
from gapless.errors import ConnectionLost, IllegalTransition, LoginRejected

__all__ = ["HIDDEN", "Login", "Secrets"]

HIDDEN: Final = "[hidden]"
"""What stands in shown text where a secret stood."""

_REFUSING: Final = frozenset({1000, 1008})  # close codes that answer a login: bye, policy
_OWN_CODES: Final = 3000  # from here up they are the venue's own
_HIDES_MIN: Final = 4  # anything shorter would hide half of every text


class Secrets:
    """A key and what belongs to it.

    It cannot be printed, compared, copied or pickled: whatever prints everything it can reach
    finds only its name.

    Args:
        key: The public part, or client id.
        secret: What requests are signed with.
        passphrase: A third part, where the venue asks for one.
    """

    __slots__ = ("key", "passphrase", "secret")

    def __init__(self, key: str, secret: str, passphrase: str = "") -> None:
        self.key = key
        self.secret = secret
        self.passphrase = passphrase

    def hide(self, text: str) -> str:
        """Return ``text`` with `HIDDEN` for each of them: venues repeat what they refuse."""
        for part in sorted((self.key, self.secret, self.passphrase), key=len, reverse=True):
            if len(part) >= _HIDES_MIN:
                text = text.replace(part, HIDDEN)
        return text

    def __repr__(self) -> str:
        return "Secrets()"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("secrets are neither copied nor pickled")


class Login:
    """What one session needs to log in, once.

    Args:
        make: Makes the request of id, secrets, Unix time and a text that is never used twice.
        secrets: What proves who we are.
        nonce: That text.
        final: Codes of refusals that no later attempt will change.

    Attributes:
        id: Of the request, once it is sent; 0 before.
        wall_offset_ns: Unix time minus monotonic time; the session sets it.
    """

    __slots__ = ("_final", "_make", "_nonce", "_secrets", "id", "wall_offset_ns")

    def __init__(
        self,
        make: Callable[[int, Secrets, int, str], Request],
        secrets: Secrets,
        nonce: str,
        final: frozenset[int] = frozenset(),
    ) -> None:
        self.id = 0
        self.wall_offset_ns = 0
        self._final = final
        self._make = make
        self._secrets = secrets
        self._nonce = nonce

    def request(self, request_id: int, now_ns: int) -> Request:
        """Return the request, to be sent at ``now_ns`` and never shown as it is.

        Raises:
            LoginRejected: If none can be made of these secrets.
            IllegalTransition: If the venue's file makes one that shows what it sends.
        """
        request, trouble = None, ""
        try:
            request = self._make(
                request_id, self._secrets, self.wall_offset_ns + now_ns, self._nonce
            )
        except Exception as error:  # not chained: what it holds may be the secret
            trouble = type(error).__name__
        if request is None:
            raise LoginRejected(None, f"no request can be made of these credentials: {trouble}")
        if request.shown is None or (request.kind, request.id) != ("login", request_id):
            raise IllegalTransition("a login request that shows what it sends, or is none")
        return request

    def hide(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        return self._secrets.hide(text)

    def refused(self, code: int, detail: str) -> LoginRejected:
        """Return what a refusal means, without the secrets that the venue may repeat."""
        return LoginRejected(code, self.hide(detail), permanent=code in self._final)

    def closed(self, cause: Exception) -> Exception:
        """Return what the end of a connection means that owes us the answer."""
        code = cause.code if isinstance(cause, ConnectionLost) else None
        if not self.id or code is None or not (code in _REFUSING or code >= _OWN_CODES):
            return cause
        return self.refused(code, cause.reason if isinstance(cause, ConnectionLost) else "")

    def __repr__(self) -> str:
        return "Login()"
