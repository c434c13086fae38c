"""What real venues' traffic looks like in time, bursts and pauses, raises no alarm.

The whole client follows each recording in virtual time, at the moments at which it was recorded.
The recordings of five minutes and more take long: ``GAPLESS_RHYTHMS=all`` plays them too.
"""

from __future__ import annotations

import os

import pytest
from tests.corpus.captures import located

from gapless.testing.replaying import replayed

ALARMS = ("stalled", "slow", "frozen", "violation")
SHORT = [
    ("binance/cryptofeed_binance_20210404", "binance.spot"),
    ("binance_us/cryptofeed_binance_us_20210405", "binance.spot"),
    ("binance_futures/cryptofeed_binance_futures_20210417", "binance.usdm"),
    ("binance_delivery/cryptofeed_binance_delivery_20210722", "binance.coinm"),
    ("bitfinex/cryptofeed_bitfinex_20210417", "bitfinex"),
    ("bybit/cryptofeed_bybit_20260809_linear", "bybit.linear"),
    ("deribit/cryptofeed_deribit_20210405", "deribit"),
    ("kraken_futures/cryptofeed_kraken_futures_20210417", "kraken.futures"),
]
LONG = [
    ("binance/hftbacktest_spot_btcusdt_20240808", "binance.spot"),
    ("binance_futures/hftbacktest_usdm_btcusdt_20240808", "binance.usdm"),
    ("binance_delivery/hftbacktest_cm_btcusd_perp_20240808", "binance.coinm"),
]
PLAYED = [*SHORT, *LONG] if os.environ.get("GAPLESS_RHYTHMS") == "all" else SHORT


@pytest.mark.parametrize(("name", "venue"), PLAYED)
def test_no_alarm_is_raised_by_what_a_venue_really_sent(name, venue, measure):
    again = replayed(located(name), venue=venue)
    span_s = (again.events[-1].recv_ns - again.events[0].recv_ns) / 1e9
    alarms = [notice for notice in again.notices if notice.kind in ALARMS]
    print(f"{name}: {len(again.events)} events in {span_s:.0f} s, {len(alarms)} alarms")
    measure("corpus.minutes", span_s / 60)
    measure("corpus.events", len(again.events))
    measure("corpus.alarms", len(alarms))
    assert span_s >= 25
    assert len(again.events) > 400
    assert not alarms
