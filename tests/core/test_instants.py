"""Times that venues write as text: exact to the nanosecond, and nothing is guessed."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapless.core.instants import instant_ns
from gapless.errors import DecodeError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# Hypothesis wants bounds without a zone.
FIRST, LAST = datetime(1970, 1, 1), datetime(2262, 1, 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2001-09-09T01:46:40Z", 1_000_000_000 * 10**9),
        ("2033-05-18T03:33:20.000000001Z", 2_000_000_000 * 10**9 + 1),
        ("2024-02-29T00:00:00.5Z", 1_709_164_800 * 10**9 + 500_000_000),
        ("2023-04-04T00:29:19.353Z", 1_680_568_159 * 10**9 + 353_000_000),
    ],
)
def test_a_time_is_read_to_the_last_digit(text, expected):
    assert instant_ns(text) == expected


@given(st.datetimes(FIRST, LAST), st.integers(0, 999))
def test_every_time_agrees_with_the_calendar_of_the_standard_library(naive, nanos):
    micros = (naive.replace(tzinfo=UTC) - EPOCH) // MICROSECOND
    text = naive.isoformat(timespec="microseconds") + f"{nanos:03}Z"
    assert instant_ns(text) == micros * 1000 + nanos


@pytest.mark.parametrize("digits", range(1, 10))
def test_zeros_that_a_venue_leaves_out_change_nothing(digits):
    short = "2026-08-09T21:05:48." + "1" * digits + "Z"
    full = "2026-08-09T21:05:48." + "1" * digits + "0" * (9 - digits) + "Z"
    assert instant_ns(short) == instant_ns(full)


def test_a_leap_second_is_the_one_that_follows():
    assert instant_ns("2016-12-31T23:59:60Z") == instant_ns("2017-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-08-09",
        "2026-08-09T21:05:48",
        "2026-08-09 21:05:48Z",
        "2026-08-09T21:05:48+00:00",
        "2026-08-09T21:05:48.Z",
        "2026-08-09T21:05:48.1234567890Z",
        "2026-08-09T24:00:00Z",
        "2026-08-09T21:60:00Z",
        "2026-08-09T21:05:61Z",
        "2026-13-09T21:05:48Z",
        "2026-02-29T21:05:48Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00.000000Z",
        "1969-12-31T23:59:59.999999999Z",
        "2263-01-01T00:00:00Z",
        "+026-08-09T21:05:48Z",
        "2026-08-09T2_:05:48Z",
        "2026-08-09T\u0662\u0661:05:48Z",
        "2026-08-09T21:05:48Z\n",
        " 2026-08-09T21:05:48Z",
        "2026-08-09T21:05:48Z\ud800",
        "9" * 10_000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(DecodeError):
        instant_ns(text)


@given(st.text(max_size=40))
def test_no_text_does_worse_than_a_decode_error(text):
    with contextlib.suppress(DecodeError):
        assert 0 <= instant_ns(text) < 2**63
