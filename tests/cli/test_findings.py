"""The table for people: the worst first, bounded, and plain where nobody looks."""

from __future__ import annotations

from tests.inspection.talk import (
    change,
    found,
    numbered,
    push,
    record,
    snapshot,
    trades,
)

from gapless.cli.findings import BREAKS_SHOWN, ROWS_SHOWN, show, show_totals
from gapless.inspection.report import Damage, total


def shown(capsys, of):
    show(of)
    return capsys.readouterr().out


def many(count):
    return numbered(
        push(
            f"trades.BTC-{n}.raw",
            [
                {
                    "trade_id": "1",
                    "trade_seq": seq,
                    "timestamp": 1,
                    "price": 1.0,
                    "amount": 1.0,
                    "direction": "buy",
                }
            ],
        )
        for n in range(count)
        for seq in (1, 5)
    )


def test_the_worst_stands_first(capsys):
    frames = numbered([trades(1), trades(2), snapshot(10), change(15, 20)])
    lines = shown(capsys, found(frames)).splitlines()
    heads = [line.split()[0] for line in lines]
    assert heads.index("book.BTC-PERPETUAL.raw") < heads.index("trades.BTC-PERPETUAL.raw")


def test_columns_line_up(capsys):
    lines = shown(capsys, found(numbered([trades(1), trades(2), snapshot(10)]))).splitlines()
    head = next(line for line in lines if line.startswith("  topic"))
    row = next(line for line in lines if line.startswith("  trades."))
    assert head.index("checked") + len("checked") == row.index(" 1 ") + 2


def test_rows_and_breaks_are_bounded_and_the_rest_is_counted(capsys):
    out = shown(capsys, found(many(ROWS_SHOWN + 7)))
    assert sum(line.startswith("  trades.BTC-") for line in out.splitlines()) == ROWS_SHOWN
    assert "and 7 topics more, 7 of them with findings" in out
    assert out.count("  frame ") == BREAKS_SHOWN
    assert f"and {ROWS_SHOWN + 7 - BREAKS_SHOWN} breaks more" in out


def test_what_was_not_decoded_asked_and_refused(capsys):
    call = {"id": 1, "method": "public/subscribe", "params": {"channels": ["trades.X-1.raw"]}}
    records = [
        record(1, call, "out"),
        record(2, {"jsonrpc": "2.0", "id": 1, "result": []}),
        *(record(3 + n, push(f"chart.{n}", {})) for n in range(7)),
    ]
    out = shown(capsys, found(records))
    assert "undecoded: 7 frames" in out
    assert "and 2 kinds more" in out
    assert "requests: 1 sent, 1 answered, after 1000.0 to 1000.0 ms" in out
    assert "refused in frame 2: trades.X-1.raw: 0 left out of the reply" in out
    assert "trades.X-1.raw (refused)" in out
    assert "no finding" in out


def test_damage_is_said_with_its_place(capsys):
    of = found(numbered([snapshot(1)]))
    of.damaged = Damage("line 9", "cut")
    of.totals.damaged = 1
    out = shown(capsys, of)
    assert "damaged at line 9: cut" in out
    assert "0 findings, and the capture is damaged" in out


def test_sums_over_files(capsys):
    one = found(numbered([snapshot(10), change(10, 15)]))
    show_totals(2, total([one, one]))
    out = capsys.readouterr().out
    assert "2 files: 4 frames in" in out
    assert "2 checked, 0 breaks" in out
    assert "books: 2 synced" in out


def test_on_a_narrow_terminal_columns_give_way_and_names_do_not(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    out = shown(capsys, found(numbered([snapshot(10), change(10, 15), change(16, 20)])))
    assert "book.BTC-PERPETUAL.raw" in out
    assert "broken, 2 levels" in out
    head = out.splitlines()[1]
    assert all(word in head for word in ("topic", "frames", "checked", "breaks", "book"))
    assert "checksums" not in head


def test_a_terminal_gets_a_table(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    out = shown(capsys, found(numbered([snapshot(10), change(15, 20)])))
    assert "book.BTC-PERPETUAL.raw" in out
    assert "broken, 2 levels" in out
