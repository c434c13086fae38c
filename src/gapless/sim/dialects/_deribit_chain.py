"""How Deribit tells the life of an option chain: instrument states, listings and topics that end.

Source: docs.deribit.com, ``instrument.state.{kind}.{currency}`` and ``public/get_instruments``.
The documents do not say in which order the states of a settlement come; this is what the
simulator does, and a client must not lean on it: ``settlement``, then ``terminated`` for what has
expired and ``open`` for the rest; ``created``, then ``started`` for what is new.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gapless.sim.chain import Chain, ChainOptions, News
from gapless.sim.dialects._base import MS, SECOND

if TYPE_CHECKING:
    from gapless.sim.dialects.deribit import Deribit
    from gapless.sim.world import Market

__all__ = ["ChainLife"]

_WORDS: Final = {"created": "created", "open": "started", "settlement": "settlement"}
_GONE: Final = "terminated"


class ChainLife:
    """Lets a chain live on one exchange.

    Attributes:
        chain: The strikes and their states.
        began_ns: When it began; 0 before the first client came.
    """

    def __init__(self, venue: Deribit, options: ChainOptions) -> None:
        self.chain = Chain(options)
        self.began_ns = 0
        self._venue = venue

    def begin(self, now_ns: int) -> None:
        """Begin with the first client; later calls change nothing."""
        if self.began_ns:
            return
        self.began_ns = now_ns
        exchange = self._venue.exchange
        for news in self.chain.news:
            due_ns = now_ns + int(news.after_s * SECOND)
            exchange.call_at(due_ns, partial(self._happen, news))
        self._hold()

    def hides(self, name: str) -> bool:
        """Whether the venue does not know this instrument now."""
        return name in self.chain.strikes and not self.chain.listed(name)

    def instrument(self, market: Market) -> dict[str, Any] | None:
        """Return what listings say of a strike beyond the usual; `None` if it is none."""
        strike = self.chain.strikes.get(market.spec.name)
        if strike is None:
            return None
        began_ns = self.began_ns
        state = self.chain.states[strike.name]
        return {
            "kind": "option",
            "strike": float(strike.strike),
            "option_type": strike.right,
            "settlement_period": "day",
            "settlement_currency": market.spec.base,
            "quote_currency": market.spec.base,
            "is_active": state in {"open", "settlement"},
            "state": {"created": "created", "settlement": "settlement"}.get(state, "open"),
            "expiration_timestamp": self.chain.expiry_ns(strike.name, began_ns) // MS,
        }

    def _happen(self, news: News, now_ns: int) -> None:
        changed = self.chain.take(news)
        self._hold()
        for name in changed:
            word = _GONE if news.state == "gone" else _WORDS[news.state]
            body = f'{{"timestamp":{now_ns // MS},"state":"{word}","instrument_name":"{name}"}}'
            base = name.partition("-")[0]
            for kind in ("option", "any"):
                for currency in (base, "any"):
                    topic = f"instrument.state.{kind}.{currency}"
                    self._venue.broadcast(topic, now_ns, body)

    def _hold(self) -> None:
        """Turn orders away from whatever does not trade now."""
        world = self._venue.exchange.world
        if world is not None:
            world.held = {
                world.by_name[name].index
                for name, state in self.chain.states.items()
                if state != "open"
            }
