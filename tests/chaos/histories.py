"""Histories made by hand, as the files hold them."""

MS = 1_000_000
SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def at(number):
    return T0 + number * 100 * MS


def made(channel, number, first, last, **payload):
    """One message of the venue."""
    return {
        "type": "world",
        "channel": channel,
        "symbol": "X",
        "topic": channel,
        "ns": at(number),
        "event_ns": at(number),
        "n": number,
        "first": first,
        "last": last,
        **payload,
    }


def trade(number):
    return made("trades", number, number, number, id=str(number), price=1.0, size=2.0, side="buy")


def delta(number):
    """A message of a book that counts in sevens, each setting one level."""
    levels = [[float(number), 1.0]]
    return made("book", number, number * 7 - 6, number * 7, bids=levels, asks=[])


def image(number):
    return made("bbo", number, None, None, bid=float(number), bid_size=1.0, ask=9.0, ask_size=1.0)


TRADES = [trade(number) for number in range(1, 11)]
BOOK = [delta(number) for number in range(1, 11)]
IMAGES = [image(number) for number in range(1, 11)]
FINAL = {"type": "final", "symbol": "X", "number": 70, "bids": [[float(n), 1.0] for n in range(1, 11)], "asks": []}  # fmt: skip  # noqa: E501


def event(kind, record, late_ms=5, **more):
    """What a consumer is given of a message."""
    return {
        "type": kind,
        "channel": record["channel"],
        "symbol": record["symbol"],
        "line": "a",
        "recv_ns": record["ns"] + late_ms * MS,
        "event_ns": record["event_ns"],
        "first": record["first"],
        "last": record["last"],
        **{
            name: record[name]
            for name in (
                "id", "price", "size", "side", "bids", "asks", "bid", "bid_size", "ask", "ask_size"
            )
            if name in record
        },
        **more,
    }  # fmt: skip


def trades(*numbers, **more):
    return [event("trade", trade(number), **more) for number in numbers]


def deltas(*numbers):
    return [event("book", delta(number), snapshot=False) for number in numbers]


def snapshot(number):
    record = delta(number)
    levels = [[float(n), 1.0] for n in range(1, number + 1)]
    return event("book", {**record, "bids": levels}, snapshot=True, first=record["last"])


def images(*numbers):
    return [event("bbo", image(number)) for number in numbers]


def gap(channel, low, high, first=None, last=None, missing=None):
    """A gap that names messages ``low`` to ``high`` by time, and numbers if given."""
    return {
        "type": "gap",
        "channel": channel,
        "symbol": "X",
        "line": "a",
        "recv_ns": at(high) + 50 * MS,
        "event_ns": None,
        "first": first,
        "last": last,
        "missing": missing,
        "since_ns": at(low) - MS,
        "until_ns": at(high) + MS,
    }


def notice(kind, ns, line="a", cause="ConnectionLost"):
    return {
        "type": "notice", "kind": kind, "channel": None, "symbol": None, "line": line,
        "recv_ns": ns, "cause": cause,
    }  # fmt: skip


def strike(ns, line=None, for_ms=0, happened=1, name="reset"):
    return {
        "type": "strike", "name": name, "where": "proxy", "line": line, "at_ns": ns,
        "until_ns": ns + for_ms * MS, "happened": happened,
    }  # fmt: skip


def sent(record, ns=None, fault=None):
    return {
        "type": "sent", "topic": record["topic"], "n": record["n"],
        "ns": record["ns"] if ns is None else ns, "fault": fault,
    }  # fmt: skip
