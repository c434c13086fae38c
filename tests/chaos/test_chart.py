"""The scorecard as text."""

from tests.chaos.histories import FINAL, TRADES, at, gap, strike, trades

from gapless.chaos.chart import bar, sparkline, table
from gapless.chaos.checker import check


def test_a_bar_grows_with_the_power_of_ten_and_stays_in_bounds():
    lengths = [len(bar(ms, 20)) for ms in (0.0, 0.1, 1, 10, 100, 1000, 10_000, 60_000, 1e9)]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (1, 20)


def test_a_sparkline_shows_nothing_as_nothing():
    assert sparkline([0, 0]) == "··"
    line = sparkline([0, 1, 5, 9])
    assert line[0] == "·"
    assert line[1] < line[2] < line[3]


def test_the_table_sets_contenders_beside_each_other():
    truth = [*TRADES, strike(at(4)), FINAL]
    ours = check(truth, [*trades(1, 2, 3), gap("trades", 4, 5, 4, 5, 2), *trades(6, 7)])
    naive = check(truth, trades(1, 2, 3, 6, 7))
    columns = [("gapless", ours.as_dict()), ("naive", naive.as_dict())]
    lines = list(table("Scorecard", columns, ours, at(0), at(10)))
    cells = {line[:44].strip(): line[44:].split() for line in lines}
    assert cells["Scorecard"] == ["gapless", "naive"]
    assert cells["lost"] == ["2", "2"]
    assert cells["of them announced"] == ["2", "0"]
    assert cells["LOST SILENTLY"] == ["0", "2"]
    assert any(line.startswith("noticed after") and "150.0 ms" in line for line in lines)
    assert max(map(len, lines)) <= 80
