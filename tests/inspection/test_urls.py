"""What the URL of a connection says."""

from __future__ import annotations

import pytest

from gapless.inspection.urls import fit, topics_in
from gapless.venues._registry import load


@pytest.mark.parametrize(
    ("url", "venue", "expected"),
    [
        ("wss://www.deribit.com/ws/api/v2", "deribit", 2),
        ("wss://www.deribit.com/ws/api/v2/", "deribit", 2),
        ("wss://test.deribit.com/elsewhere", "deribit", 1),
        ("wss://stream.binance.com:9443/stream?streams=btcusdt@trade", "binance.spot", 2),
        ("wss://stream.binance.com:9443/stream", "deribit", 0),
        ("ws://127.0.0.1:9601/ws/api/v2", "deribit", 0),
        ("wss://[broken", "deribit", 0),
        ("", "deribit", 0),
    ],
)
def test_how_well_a_url_fits(url, venue, expected):
    assert fit(url, load(venue)) == expected


def test_topics_may_stand_in_a_url():
    url = "wss://stream.binance.com:9443/stream?streams=btcusdt@trade/ethusdt@depth@100ms"
    found = list(topics_in(url))
    assert "btcusdt@trade" in found
    assert "ethusdt@depth@100ms" in found
    assert list(topics_in("")) == []
