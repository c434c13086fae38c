"""Messages that come and say the same: a quiet market's habit, and a frozen topic."""

from __future__ import annotations

from gapless.core.frozen import FreezePolicy, FrozenWatch, content
from gapless.events import Bbo, Origin, Trade

SECOND = 1_000_000_000
TICK = 250_000_000
ORIGIN = Origin("toy", "bbo", "x", "bbo.x", "a", 1)


def bbo(price, now_ns):
    return Bbo(ORIGIN, now_ns, now_ns, now_ns, None, None, price, 1.0, price + 1, 1.0)


def watched(contents):
    watch, frozen = FrozenWatch(FreezePolicy()), []
    for step, price in enumerate(contents):
        frozen.append(watch.look(bbo(price, step * TICK), 5, step * TICK))
    return frozen


def test_content_is_what_a_message_says_and_not_when_it_came():
    assert content(bbo(1.0, 5)) == content(bbo(1.0, 7))
    assert content(bbo(1.0, 5)) != content(bbo(2.0, 5))
    one, two = (Trade(ORIGIN, 1, 1, 1, None, None, "7", 1.0, 1.0, "buy") for _ in range(2))
    assert content(one) != content(two)  # trades may well be alike


def test_a_lively_topic_that_repeats_itself_for_ten_seconds_is_frozen_until_it_moves():
    lively = [float(step) for step in range(100)]
    frozen = watched([*lively, *[7.0] * 60, 8.0])
    assert not any(frozen[:140])
    assert frozen[140] is True  # ten seconds after the first of the repeated images
    assert frozen[159] is True
    assert frozen[160] is False


def test_the_habit_of_a_quiet_market_is_no_freeze():
    quiet = [float(step // 40) for step in range(40 * 30)]  # each price for ten seconds
    assert not any(watched([*quiet, *[99.0] * 300]))  # 75 s, and 80 would be eight times as long
    assert watched([*quiet, *[99.0] * 330])[-1] is True


def test_what_never_changed_much_proves_nothing():
    assert not any(watched([*[float(step) for step in range(19)], *[-7.0] * 1000]))


def test_the_same_message_again_and_again_is_frozen_too():
    watch = FrozenWatch(FreezePolicy())
    for step in range(100):
        watch.look(bbo(float(step), step * TICK), 1, step * TICK)
    newest = bbo(1.5, 100 * TICK)
    seen = [watch.look(newest, 2, now_ns) for now_ns in range(100 * TICK, 160 * TICK, TICK)]
    assert seen[-1] is True
    assert seen[20] is False
