from __future__ import annotations

import gc

import msgspec
import pytest

from gapless import events
from gapless.events import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Event,
    Gap,
    Notice,
    Origin,
    Resynced,
    Ticker,
    Top,
    Trade,
)

ORIGIN = Origin("binance.spot", "trades", "BTC/USDT", "btcusdt@trade", "b", 7)
HEAD = (ORIGIN, 1_700_000_000_000_000_001, 5, None, 10, 12)
ALL = [
    Trade(*HEAD, "12", 1.5, 2.0, "sell"),
    BookDelta(*HEAD, [(1.0, 2.0)], []),
    BookSnapshot(*HEAD, [(1.0, 2.0)], []),
    Bbo(*HEAD, 1.0, 2.0, None, None),
    Ticker(*HEAD, 1.0),
    Gap(*HEAD, 3, "closed", 1, 2),
    Resynced(*HEAD, "ids", 4),
]
kinds = pytest.mark.parametrize("event", ALL, ids=lambda event: type(event).__name__)


@kinds
def test_every_event_says_where_it_came_from(event):
    assert isinstance(event, Event)
    assert (event.venue, event.channel, event.symbol) == ("binance.spot", "trades", "BTC/USDT")
    assert (event.line, event.epoch) == ("b", 7)
    assert (event.recv_ns, event.mono_ns, event.event_ns) == HEAD[1:4]
    assert (event.first, event.last) == (10, 12)


@kinds
def test_events_are_frozen_and_untracked(event):
    with pytest.raises(AttributeError):
        event.recv_ns = 0
    assert not gc.is_tracked(event)


@kinds
def test_events_keep_every_digit_through_json(event):
    text = msgspec.json.encode(event)
    assert msgspec.json.decode(text, type=type(event)) == event


def test_fields_can_be_matched_by_name():
    match ALL[0]:
        case Trade(price=price, size=size, side="sell"):
            assert (price, size) == (1.5, 2.0)
        case _:
            raise AssertionError


def test_a_ticker_leaves_out_what_the_venue_does_not_send():
    ticker = ALL[4]
    rest = (ticker.mark, ticker.index, ticker.bid, ticker.ask, ticker.volume)
    assert rest == (None,) * 5
    assert (ticker.open_interest, ticker.funding) == (None, None)


def test_tops_and_notices_are_frozen_too():
    top = Top(1.0, 2.0, None, None, 5, None)
    notice = Notice(1, "v", 5, 5, "live", "a", 1, None, None, "cause", "evidence")
    for value in (top, notice):
        with pytest.raises(AttributeError):
            value.recv_ns = 0


def test_everything_public_is_listed_in_order():
    assert events.__all__ == sorted(events.__all__)
    structs = {name for name, v in vars(events).items() if isinstance(v, type)} - {"Struct"}
    assert structs <= set(events.__all__)
