"""One conversation, phase by phase, with every deadline exact on both sides."""

from __future__ import annotations

import pytest
from tests.core.talk import (
    MS,
    PATH,
    SECOND,
    T0,
    ToyCodec,
    five_a_second,
    ids_of,
    in_phase,
    make,
    sent,
)

from gapless.core.budget import Budget, Credit
from gapless.core.codec import (
    Ack,
    Bundle,
    Denied,
    Granted,
    Heartbeat,
    Listing,
    Refusal,
    Request,
    Shutdown,
    Status,
    Stray,
)
from gapless.core.lifecycle import Phase
from gapless.core.requests import Outcome
from gapless.core.session import (
    Abort,
    Close,
    Confirmed,
    Ended,
    Expiring,
    Live,
    Ping,
    Refused,
    Said,
    Send,
    Timing,
    Unlisted,
)
from gapless.core.subscriptions import Wish
from gapless.errors import (
    ConnectionLost,
    DecodeError,
    DialFailed,
    IllegalTransition,
    RateLimited,
    Stalled,
)

OPEN = [Phase.DIALING, Phase.SUBSCRIBING, Phase.LIVE, Phase.DRAINING, Phase.CLOSING]


# -- dialling ---------------------------------------------------------------------------------


def test_a_session_that_was_never_dialled_wants_nothing():
    session = in_phase(Phase.IDLE)
    assert session.deadline_ns is None
    assert session.tick(T0) == []
    assert session.rtt_ns is None
    assert session.lost(ConnectionLost(), T0) == []
    assert session.control(Stray("?"), T0) == []
    session.pong(T0)
    assert session.phase is Phase.IDLE


def test_dialling_twice_is_a_bug_of_ours():
    session = in_phase(Phase.DIALING)
    with pytest.raises(IllegalTransition):
        session.dial(T0)


def test_a_dial_ends_exactly_at_its_deadline():
    session = in_phase(Phase.DIALING)
    deadline_ns = T0 + Timing().dial_ns
    assert session.deadline_ns == deadline_ns
    assert session.tick(deadline_ns - 1) == []
    assert session.tick(deadline_ns) == [Abort()]
    [ended] = session.lost(ConnectionLost(), deadline_ns)
    assert isinstance(ended, Ended)
    assert isinstance(ended.cause, DialFailed)
    assert (ended.cause.stage, ended.cause.endpoint) == ("upgrade", "wss://venue")
    assert (ended.live_ns, ended.was_live) == (0, False)


def test_a_failed_dial_ends_with_its_own_cause():
    session = in_phase(Phase.DIALING)
    cause = DialFailed("tcp", "wss://venue", "refused")
    assert session.lost(cause, T0 + 1) == [Ended(cause, 0, was_live=False)]


def test_a_transport_that_opens_after_the_retirement_is_aborted():
    session = in_phase(Phase.DIALING)
    assert session.retire(T0) == [Close()]
    assert session.opened(T0 + 1) == [Abort()]
    assert session.lost(ConnectionLost(), T0 + 2) == [Ended(None, 0, was_live=False)]


# -- subscribing ------------------------------------------------------------------------------


def test_setup_comes_before_the_subscribes_and_ids_never_repeat():
    session = make("x", "y", "z", codec=ToyCodec(setups=2), per_request=2)
    session.dial(T0)
    effects = session.opened(T0)
    assert sent(effects) == ["setup 1", "setup 2", "subscribe 3 x y", "subscribe 4 z"]


def test_live_needs_every_topic_granted_or_refused():
    session = make("x", "y", "z", per_request=1)
    session.dial(T0)
    session.opened(T0)
    assert session.control(Ack(1), T0) == [Confirmed(("x",))]
    [refused] = session.control(Refusal(2, 7, "no such topic"), T0)
    assert isinstance(refused, Refused)
    assert (refused.error.topic, refused.error.code) == ("y", 7)
    assert session.phase is Phase.SUBSCRIBING
    assert session.control(Ack(3), T0) == [Confirmed(("z",)), Live()]
    assert session.phase is Phase.LIVE


def test_acks_are_matched_by_id_in_any_order():
    session = make("x", "y", per_request=1)
    session.dial(T0)
    session.opened(T0)
    assert session.control(Ack(2), T0) == [Confirmed(("y",))]
    assert session.control(Ack(2), T0) == []
    assert session.control(Ack(99), T0) == []
    assert session.control(Ack(1), T0) == [Confirmed(("x",)), Live()]
    assert session.control(Ack(1), T0) == []


def test_a_topic_that_is_silently_left_out_of_the_ack_is_refused():
    session = in_phase(Phase.SUBSCRIBING, "x", "y")
    confirmed, refused, live = session.control(Ack(1, ("x",)), T0)
    assert confirmed == Confirmed(("x",))
    assert isinstance(refused, Refused)
    assert (refused.error.topic, refused.error.code) == ("y", None)
    assert live == Live()


def test_an_ack_that_grants_nothing_confirms_nothing():
    session = in_phase(Phase.SUBSCRIBING, "x")
    refused, live = session.control(Ack(1, ()), T0)
    assert isinstance(refused, Refused)
    assert live == Live()


def test_topics_nobody_asked_for_are_not_confirmed():
    session = in_phase(Phase.SUBSCRIBING, "x")
    assert session.control(Ack(1, ("x", "stranger")), T0) == [Confirmed(("x",)), Live()]


def test_one_bad_topic_is_found_by_halving_and_costs_nobody_else():
    topics = ("a", "b", "bad", "d", "e")
    session = in_phase(Phase.SUBSCRIBING, *topics)
    effects = session.control(Refusal(1, 2, "invalid request"), T0)
    waiting = [text.split() for text in sent(effects)]
    granted: list[str] = []
    refused: list[str] = []
    answers = 0
    while waiting:
        _, number, *asked = waiting.pop(0)
        answers += 1
        if "bad" in asked:
            effects = session.control(Refusal(int(number), 2, "invalid request"), T0)
        else:
            effects = session.control(Ack(int(number)), T0)
        waiting += [text.split() for text in sent(effects)]
        for effect in effects:
            if isinstance(effect, Confirmed):
                granted += effect.topics
            elif isinstance(effect, Refused):
                refused.append(effect.error.topic)
    assert (sorted(granted), refused) == (["a", "b", "d", "e"], ["bad"])
    assert session.phase is Phase.LIVE
    assert answers <= 2 * len(topics)


def test_a_subscribe_without_an_answer_ends_the_session_exactly_at_the_deadline():
    session = in_phase(Phase.SUBSCRIBING)
    deadline_ns = T0 + Timing().ack_ns
    session.heard_ns = deadline_ns - 1
    assert not any(isinstance(e, Abort) for e in session.tick(deadline_ns - 1))
    assert session.tick(deadline_ns) == [Abort()]
    [ended] = session.lost(ConnectionLost(), deadline_ns)
    assert isinstance(ended, Ended)
    assert isinstance(ended.cause, DialFailed)
    assert ended.cause.stage == "subscribe"


def test_a_request_without_an_answer_ends_a_live_session_too():
    session = in_phase(Phase.LIVE, codec=ToyCodec(lists=True))
    assert session.phase is Phase.LIVE
    session.heard_ns = T0 + 10 * SECOND - 1
    assert session.tick(T0 + 10 * SECOND) == [Abort()]
    [ended] = session.lost(ConnectionLost(), T0 + 10 * SECOND)
    assert isinstance(ended, Ended)
    assert isinstance(ended.cause, Stalled)
    assert "listing" in ended.cause.evidence


def test_a_refused_setup_is_said_and_ends_nothing():
    session = make("x", codec=ToyCodec(setups=1))
    session.dial(T0)
    session.opened(T0)
    [said] = session.control(Refusal(1, -32602, "Invalid params"), T0)
    assert said == Said("venue", "the venue refused a request (-32602)", "Invalid params")
    assert session.control(Ack(2), T0) == [Confirmed(("x",)), Live()]


def test_a_refusal_that_names_no_request_is_said():
    session = in_phase(Phase.LIVE)
    [said] = session.control(Refusal(None, -2015, "key revoked"), T0)
    assert isinstance(said, Said)
    assert said.evidence == "key revoked"


@pytest.mark.parametrize("phase", [Phase.SUBSCRIBING, Phase.LIVE, Phase.DRAINING])
def test_too_many_requests_ends_the_session_and_says_so(phase):
    session = in_phase(phase)
    assert session.control(Refusal(None, 10028, "too_many_requests", limited=True), T0) == [Abort()]
    [ended] = session.lost(ConnectionLost(), T0)
    assert isinstance(ended, Ended)
    assert isinstance(ended.cause, RateLimited)
    assert ended.cause.status == 10028


# -- answers topic by topic -------------------------------------------------------------------


def asking(*topics, **how):
    session = make(*topics, **how)
    session.dial(T0)
    session.opened(T0)
    return session


def test_topics_may_be_granted_one_by_one_whichever_request_asked_for_them():
    session = asking("x", "y", "z", per_request=2)
    assert session.control(Granted(("y",)), T0) == [Confirmed(("y",))]
    assert session.control(Granted(("z", "x")), T0) == [Confirmed(("z", "x")), Live()]
    assert session.requests.outcomes[Outcome.ANSWERED] == 2
    assert session.requests.deadline_ns is None


def test_a_venue_that_lists_all_that_is_subscribed_confirms_each_once():
    session = asking("x", "y", per_request=1)
    assert session.control(Granted(("x",)), T0) == [Confirmed(("x",))]
    assert session.control(Granted(("x", "y", "other")), T0) == [Confirmed(("y",)), Live()]
    assert session.control(Granted(("x", "y", "other")), T0) == []
    assert session.control(Granted(()), T0) == []


def test_a_grant_counts_only_for_what_was_sent():
    session = asking("x", "y", "z", per_request=1, messages=five_a_second())
    session.control(Granted(("x", "y", "z")), T0)
    session.resubscribe("x", T0)  # waits for the budget
    assert session.subscriptions.stands("x") is Wish.PENDING
    assert session.control(Granted(("x", "y", "z")), T0) == []  # of the old subscription
    assert session.control(Denied(("x",), 1, "of something before"), T0) == []
    assert session.control(Ack(5), T0) == []
    effects = session.tick(T0 + SECOND)
    assert sent(effects) == ["unsubscribe 4 x", "subscribe 5 x"]
    assert session.control(Granted(("x",)), T0 + SECOND) == [Confirmed(("x",))]
    assert session.requests.deadline_ns is None  # and so was the unsubscribe


def test_the_deadline_of_a_request_is_met_when_every_topic_is_answered():
    session = asking("x", "y", "z")
    session.control(Granted(("x",)), T0)
    session.control(Denied(("y",), 7, "no such topic"), T0)
    assert session.requests.deadline_ns == T0 + Timing().ack_ns
    session.control(Granted(("z",)), T0)
    assert session.phase is Phase.LIVE
    assert session.requests.deadline_ns is None
    assert session.requests.outcomes[Outcome.ANSWERED] == 1


def test_a_topic_that_is_followed_no_more_still_answers_its_request():
    session = asking("x", "y")
    session.unfollow(("y",), T0, tell=False)
    session.control(Granted(("x", "y")), T0)
    assert session.phase is Phase.LIVE
    assert session.requests.deadline_ns is None


def test_a_denied_topic_is_refused_and_the_others_are_not():
    session = asking("x", "y")
    [refused] = session.control(Denied(("x", "x", "other"), 7, "no such topic"), T0)
    assert isinstance(refused, Refused)
    assert (refused.error.topic, refused.error.code) == ("x", 7)
    assert session.control(Granted(("y",)), T0) == [Confirmed(("y",)), Live()]
    assert session.control(Denied(("x",), 7, "no such topic"), T0) == []


def test_an_answer_in_order_is_for_the_oldest_request_that_was_sent():
    session = asking("x", "y", "z", per_request=1, messages=five_a_second())
    session.control(Granted(("x",)), T0)
    [refused, *_] = session.control(Refusal(None, 0, "no such topic", ordered=True), T0)
    assert refused.error.topic == "y"
    [refused, live] = session.control(Refusal(None, 0, "no such topic", ordered=True), T0)
    assert (refused.error.topic, live) == ("z", Live())
    [said] = session.control(Refusal(None, 0, "what?", ordered=True), T0)
    assert isinstance(said, Said)


def test_an_answer_that_names_its_request_is_for_that_one_even_at_a_venue_that_keeps_the_order():
    session = asking("x", "y", per_request=1)
    [refused] = session.control(Refusal(2, 0, "no such topic", ordered=True), T0)
    assert refused.error.topic == "y"
    assert session.control(Granted(("x",)), T0) == [Confirmed(("x",)), Live()]


def test_a_request_whose_topics_were_asked_for_anew_takes_no_blame_from_later_ones():
    session = asking("x")
    session.unfollow(("x",), T0, tell=True)
    session.follow(("x",), T0)
    session.follow(("y",), T0)
    session.control(Granted(("x",)), T0)
    [refused] = session.control(Refusal(None, 0, "no such topic", ordered=True), T0)
    assert refused.error.topic == "y"
    assert session.requests.deadline_ns is None  # and none of them will be overdue


def test_a_refusal_of_what_was_asked_for_anew_is_told_and_the_newer_request_stands():
    session = asking("x", "y", per_request=1)
    session.control(Granted(("y",)), T0)
    session.unfollow(("x",), T0, tell=False)
    session.follow(("x",), T0)
    [said] = session.control(Refusal(None, 0, "busy", ordered=True), T0)
    assert isinstance(said, Said)
    assert session.control(Granted(("x",)), T0) == [Confirmed(("x",))]


def test_only_what_is_unanswered_is_asked_for_again_in_halves():
    session = asking("a", "b", "c", "d")
    session.control(Granted(("b",)), T0)
    session.control(Denied(("d",), 7, "no such topic"), T0)
    effects = session.control(Refusal(None, 0, "one of them", ordered=True), T0)
    assert sent(effects) == ["subscribe 2 a", "subscribe 3 c"]
    assert session.requests.outcomes[Outcome.REJECTED] == 1


def test_an_ack_refuses_nothing_that_was_granted_before():
    session = asking("x", "y")
    session.control(Granted(("x",)), T0)
    assert session.control(Ack(1, ("y",)), T0) == [Confirmed(("y",)), Live()]


def test_one_frame_may_say_several_things():
    session = asking("x", "y", "z")
    reply = Request(0, "reply", "alive")
    bundle = Bundle(
        (Granted(("x", "y")), Bundle((Heartbeat(reply), Stray("?"))), Denied(("z",), 1, "no"))
    )
    confirmed, alive, refused, live = session.control(bundle, T0)
    assert (confirmed, alive, live) == (Confirmed(("x", "y")), Send("alive"), Live())
    assert refused.error.topic == "z"


def test_nothing_more_of_a_frame_counts_once_it_ended_the_session():
    session = asking("x")
    bundle = Bundle((Refusal(None, 429, "too many", limited=True), Granted(("x",))))
    assert session.control(bundle, T0) == [Abort()]


# -- listing ----------------------------------------------------------------------------------


def test_a_topic_that_was_acked_but_is_not_listed_is_refused():
    session = in_phase(Phase.LIVE, "x", "y", codec=ToyCodec(lists=True))
    [refused] = session.control(Listing(2, ("x", "stranger")), T0)
    assert isinstance(refused, Refused)
    assert refused.error.topic == "y"
    assert session.control(Listing(2, ()), T0) == []  # answered already


def test_a_listing_that_names_everything_changes_nothing():
    session = in_phase(Phase.LIVE, "x", codec=ToyCodec(lists=True))
    assert session.control(Listing(2, ("x",)), T0) == []


def test_a_topic_that_a_later_listing_lacks_has_been_dropped_by_the_venue():
    session = in_phase(Phase.LIVE, "x", "y", codec=ToyCodec(lists=True))
    session.control(Listing(2, ("x", "y")), T0)
    [asked] = session.list_again(T0)
    assert asked == Send("list 3")
    assert session.control(Listing(3, ("x",)), T0 + 5) == [Unlisted(("y",))]
    assert session.listed_ns == T0 + 5
    assert session.subscriptions.is_lost("y")


def test_a_listing_is_asked_for_again_only_after_the_one_before_was_answered():
    session = in_phase(Phase.LIVE, "x", codec=ToyCodec(lists=True))
    assert session.list_again(T0) == []
    session.control(Listing(2, ("x",)), T0)
    assert sent(session.list_again(T0)) == ["list 3"]
    assert session.list_again(T0) == []


def test_a_venue_that_lists_nothing_is_not_asked():
    assert in_phase(Phase.LIVE, "x").list_again(T0) == []


def test_a_further_listing_that_is_not_answered_ends_nothing():
    session = in_phase(Phase.LIVE, "x", codec=ToyCodec(lists=True))
    session.control(Listing(2, ("x",)), T0)
    session.list_again(T0)
    session.heard_ns = T0 + 10 * SECOND - 1
    assert session.tick(T0 + 10 * SECOND) == []
    assert session.phase is Phase.LIVE
    assert session.list_again(T0 + 10 * SECOND) == [], "and is not repeated"


# -- what the venue says ------------------------------------------------------------------------


def test_a_heartbeat_that_asks_is_answered_at_once_and_counts_against_the_budget():
    messages = five_a_second()
    session = make("x", messages=messages)
    session.dial(T0)
    session.opened(T0)
    reply = Request(0, "reply", "alive")
    for _ in range(4):
        assert session.control(Heartbeat(reply), T0) == [Send("alive")]
    assert messages.wait_ns(T0) == SECOND
    assert session.control(Heartbeat(reply), T0) == [Send("alive")]  # not ours to delay
    assert session.control(Heartbeat(), T0) == []
    assert session.requests.deadline_ns == T0 + Timing().ack_ns  # a reply awaits no answer


def test_status_is_said_and_strays_are_not():
    session = in_phase(Phase.LIVE)
    [said] = session.control(Status("maintenance"), T0)
    assert said == Said("venue", "the venue announced something", "maintenance")
    assert session.control(Stray("?"), T0) == []


def test_a_shutdown_notice_asks_for_a_replacement_once():
    session = in_phase(Phase.LIVE)
    said, expiring = session.control(Shutdown("serverShutdown"), T0)
    assert isinstance(said, Said)
    assert isinstance(expiring, Expiring)
    assert session.control(Shutdown("serverShutdown"), T0) == []
    assert session.phase is Phase.LIVE


@pytest.mark.parametrize("phase", [Phase.CLOSING, Phase.ENDED])
def test_what_crosses_our_close_is_ignored(phase):
    session = in_phase(phase)
    for reading in (Ack(1), Refusal(1, 10028, "", limited=True), Shutdown("now"), Status("?")):
        assert session.control(reading, T0) == []


# -- lifetime -----------------------------------------------------------------------------------


def test_the_lifetime_counts_from_the_upgrade():
    session = make("x", timing=Timing(lifetime_ns=60 * SECOND))
    session.dial(T0)
    session.opened(T0 + 3 * SECOND)
    session.control(Ack(1), T0 + 7 * SECOND)
    end_ns = T0 + 63 * SECOND
    session.heard_ns = end_ns - 1
    assert session.tick(end_ns - 1) == []
    assert session.deadline_ns == end_ns
    said, expiring = session.tick(end_ns)
    assert isinstance(said, Said)
    assert expiring == Expiring("its lifetime is nearly over")
    assert session.tick(end_ns) == []
    assert session.deadline_ns == end_ns - 1 + PATH.quiet_ns


# -- silence ------------------------------------------------------------------------------------


def test_silence_is_probed_and_ends_the_session_exactly_at_quiet_plus_pong():
    session = in_phase(Phase.LIVE)
    heard_ns = session.heard_ns = T0 + 50 * MS
    assert session.deadline_ns == heard_ns + PATH.quiet_ns
    assert session.tick(heard_ns + PATH.quiet_ns - 1) == []
    assert session.tick(heard_ns + PATH.quiet_ns) == [Ping()]
    dead_ns = heard_ns + PATH.quiet_ns + PATH.pong_ns
    assert session.deadline_ns == dead_ns
    assert session.tick(dead_ns - 1) == []
    assert session.tick(dead_ns) == [Abort()]
    [ended] = session.lost(ConnectionLost(1006), dead_ns + 1)
    assert isinstance(ended, Ended)
    assert isinstance(ended.cause, Stalled)
    assert ended.cause.silent_ns == PATH.quiet_ns + PATH.pong_ns
    assert ended.was_live


def test_the_path_watchdog_is_armed_by_the_upgrade_and_not_by_the_first_frame():
    session = in_phase(Phase.SUBSCRIBING)
    assert session.tick(T0 + PATH.quiet_ns) == [Ping()]
    assert session.tick(T0 + PATH.quiet_ns + PATH.pong_ns) == [Abort()]


def test_a_pong_keeps_the_session_and_measures_the_round_trip():
    session = in_phase(Phase.LIVE)
    assert session.tick(T0 + SECOND) == [Ping()]
    session.heard_ns = T0 + SECOND + 30 * MS
    session.pong(session.heard_ns)
    assert session.rtt_ns == 30 * MS
    assert session.tick(T0 + 2 * SECOND) == []


# -- what the venue wants to hear ----------------------------------------------------------------

BEAT_NS = 300 * MS


def test_something_is_said_exactly_when_we_were_silent_for_long_enough():
    session = asking("x", codec=ToyCodec(beats=True), beat_ns=BEAT_NS)
    session.control(Ack(1), T0)
    assert session.deadline_ns == T0 + BEAT_NS
    assert session.tick(T0 + BEAT_NS - 1) == []
    assert sent(session.tick(T0 + BEAT_NS)) == ["beat"]
    assert session.tick(T0 + BEAT_NS) == []
    assert session.deadline_ns == T0 + 2 * BEAT_NS


def test_whatever_we_say_counts_as_being_heard():
    session = asking("x", codec=ToyCodec(beats=True), beat_ns=BEAT_NS)
    session.control(Ack(1), T0)
    session.control(Heartbeat(Request(0, "reply", "alive")), T0 + 100 * MS)
    assert session.deadline_ns == T0 + 100 * MS + BEAT_NS


def test_a_ping_is_sent_where_the_dialect_has_no_beat_of_its_own():
    session = asking("x", beat_ns=BEAT_NS)
    session.control(Ack(1), T0)
    assert session.tick(T0 + BEAT_NS) == [Ping()]
    assert session.deadline_ns == T0 + 2 * BEAT_NS


@pytest.mark.parametrize("beats", [True, False])
def test_a_beat_is_paid_from_the_budget_of_messages(beats):
    budget = five_a_second()
    session = asking("x", codec=ToyCodec(beats=beats), beat_ns=BEAT_NS, messages=budget)
    session.control(Ack(1), T0)
    assert session.tick(T0 + BEAT_NS)
    assert budget.wait_ns(T0 + BEAT_NS, 3) == 0  # the subscribe, the beat, and three more
    assert budget.wait_ns(T0 + BEAT_NS, 4) > 0


def test_a_beat_with_an_id_of_its_own_is_not_waited_for():
    class Numbered(ToyCodec):
        def beat(self, next_id):
            return Request(next_id, "setup", f"beat {next_id}")

    session = asking("x", codec=Numbered(), beat_ns=BEAT_NS)
    session.control(Ack(1), T0)
    assert sent(session.tick(T0 + BEAT_NS)) == ["beat 2"]
    assert session.requests.deadline_ns is None
    assert session.control(Ack(2), T0 + BEAT_NS) == []
    assert sent(session.tick(T0 + 2 * BEAT_NS)) == ["beat 3"]


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.CLOSING, Phase.ENDED])
def test_a_session_on_its_way_out_says_nothing(phase):
    session = asking("x", codec=ToyCodec(beats=True), beat_ns=1)
    session.control(Ack(1), T0)
    session.retire(T0)
    if phase is not Phase.DRAINING:
        session.drained(T0)
    if phase is Phase.ENDED:
        session.lost(ConnectionLost(), T0)
    assert sent(session.tick(T0 + 100 * MS)) == []


# -- budgets ------------------------------------------------------------------------------------


def test_frames_wait_for_the_message_budget_in_order():
    messages = five_a_second()
    session = make(*"abcdefg", messages=messages, per_request=1)
    session.dial(T0)
    assert ids_of(session.opened(T0)) == [1, 2, 3]  # a ping and a pong must fit beside them
    session.heard_ns = T0 + 1
    assert session.deadline_ns == T0 + SECOND
    assert session.tick(T0 + SECOND - 1) == []
    assert ids_of(session.tick(T0 + SECOND)) == [4, 5, 6]


def test_answering_a_ping_costs_one_message():
    messages = five_a_second()
    session = make(*"abcdef", messages=messages, per_request=1)
    session.dial(T0)
    session.pinged(T0)
    assert ids_of(session.opened(T0)) == [1, 2]


def test_subscribes_wait_for_the_shared_credit_pool():
    pool = Budget(Credit(15, 10))
    session = make("a", "b", codec=ToyCodec(pool="subs"), pools={"subs": pool}, per_request=1)
    session.dial(T0)
    assert ids_of(session.opened(T0)) == [1]
    session.heard_ns = T0 + 400 * MS
    assert session.tick(T0 + 500 * MS - 1) == []
    assert ids_of(session.tick(T0 + 500 * MS)) == [2]


def test_an_answer_is_awaited_from_the_sending_and_not_from_the_queueing():
    pool = Budget(Credit(10, 1))
    session = make("a", "b", codec=ToyCodec(pool="subs"), pools={"subs": pool}, per_request=1)
    session.dial(T0)
    session.opened(T0)
    session.control(Ack(1), T0)
    late_ns = session.heard_ns = T0 + 10 * SECOND
    assert ids_of(session.tick(late_ns)) == [2]
    assert session.requests.deadline_ns == late_ns + Timing().ack_ns


# -- resubscribing --------------------------------------------------------------------------------


def test_resubscribing_asks_the_venue_for_the_state_anew():
    session = in_phase(Phase.LIVE, "x", "y")
    effects = session.resubscribe("y", T0)
    assert sent(effects) == ["unsubscribe 2 y", "subscribe 3 y"]
    assert session.subscriptions.stands("y") is Wish.PENDING
    assert session.resubscribe("y", T0) == []  # under way already
    assert session.control(Ack(2), T0) == []
    assert session.control(Ack(3), T0) == [Confirmed(("y",))]
    assert session.phase is Phase.LIVE


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.SUBSCRIBING, Phase.DRAINING, Phase.ENDED])
def test_only_a_live_session_resubscribes(phase):
    assert in_phase(phase).resubscribe("x", T0) == []


def test_a_topic_of_another_session_is_not_resubscribed():
    assert in_phase(Phase.LIVE, "x").resubscribe("stranger", T0) == []


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", OPEN)
def test_losing_the_transport_ends_the_session_once(phase):
    session = in_phase(phase)
    cause = ConnectionLost(1000, "bye")
    [ended] = session.lost(cause, T0 + SECOND)
    assert isinstance(ended, Ended)
    planned = phase in {Phase.DRAINING, Phase.CLOSING}
    assert ended.cause is (None if planned else cause)
    assert session.lost(cause, T0 + SECOND) == []
    assert session.deadline_ns is None
    assert session.tick(T0 + 100 * SECOND) == []


def test_a_clean_close_that_nobody_asked_for_is_a_failure():
    [ended] = in_phase(Phase.LIVE).lost(ConnectionLost(1000), T0 + 5 * SECOND)
    assert isinstance(ended, Ended)
    assert isinstance(ended.cause, ConnectionLost)
    assert (ended.live_ns, ended.was_live) == (5 * SECOND, True)


def test_a_session_that_was_never_dialled_ends_at_once():
    session = in_phase(Phase.IDLE)
    assert session.retire(T0) == [Ended(None, 0, was_live=False)]
    assert session.phase is Phase.ENDED


@pytest.mark.parametrize("phase", [Phase.DIALING, Phase.SUBSCRIBING])
def test_a_session_that_is_not_live_closes_at_once(phase):
    session = in_phase(phase)
    assert session.retire(T0) == [Close()]
    assert session.phase is Phase.CLOSING


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.CLOSING, Phase.ENDED])
def test_retiring_twice_does_nothing(phase):
    session = in_phase(phase)
    assert session.retire(T0) == []
    assert session.phase is phase


def test_a_retired_session_drains_exactly_as_long_as_it_may():
    session = in_phase(Phase.DRAINING)
    deadline_ns = T0 + Timing().drain_ns
    assert session.deadline_ns == deadline_ns
    assert session.tick(deadline_ns - 1) == []
    assert session.tick(deadline_ns) == [Close()]
    assert session.phase is Phase.CLOSING


def test_draining_may_be_cut_short():
    session = in_phase(Phase.DRAINING)
    assert session.drained(T0) == [Close()]
    assert session.drained(T0) == []


def test_a_closing_handshake_that_hangs_is_aborted_exactly_at_its_deadline():
    session = in_phase(Phase.CLOSING)
    deadline_ns = T0 + Timing().close_ns
    assert session.deadline_ns == deadline_ns
    assert session.tick(deadline_ns - 1) == []
    assert session.tick(deadline_ns) == [Abort(), Ended(None, 0, was_live=False)]
    assert session.tick(deadline_ns + 1) == []


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.CLOSING, Phase.ENDED])
def test_there_is_nothing_to_abort(phase):
    session = in_phase(phase)
    assert session.abort(DecodeError("rubbish"), T0) == []
    assert session.phase is phase


def test_an_abort_keeps_its_cause_whatever_the_transport_says():
    session = in_phase(Phase.LIVE)
    cause = DecodeError("rubbish")
    assert session.abort(cause, T0) == [Abort()]
    assert session.lost(ConnectionLost(1006), T0) == [Ended(cause, 0, was_live=True)]


def test_the_end_settles_every_request():
    session = make("a", "b", "c", messages=Budget(), per_request=1)
    session.dial(T0)
    session.opened(T0)
    session.control(Ack(1), T0)
    session.lost(ConnectionLost(), T0)
    assert session.requests.outcomes == {
        Outcome.ANSWERED: 1,
        Outcome.REJECTED: 0,
        Outcome.NOT_SENT: 0,
        Outcome.UNKNOWN: 2,
    }


def test_an_answer_that_we_did_not_read_while_we_slept_is_not_overdue():
    session = make("x")
    session.dial(T0)
    session.opened(T0)
    awake_ns = T0 + 60 * SECOND
    session.forgive(awake_ns)
    assert not any(isinstance(effect, Abort) for effect in session.tick(awake_ns))
    assert session.phase is Phase.SUBSCRIBING
    effects = session.tick(awake_ns + Timing().ack_ns)
    assert any(isinstance(effect, Abort) for effect in effects)


def test_an_ack_of_what_was_asked_before_grants_nothing_that_was_asked_for_anew():
    session = in_phase(Phase.LIVE, "x")
    session.follow(("y",), T0)
    session.unfollow(("y",), T0, tell=True)
    session.follow(("y",), T0)
    first, _, second = range(2, 5)
    assert not [e for e in session.control(Ack(first), T0) if isinstance(e, Confirmed)]
    assert session.control(Ack(second), T0) == [Confirmed(("y",))]


def test_a_topic_that_a_dialect_never_asked_for_does_not_hold_a_session_up_for_ever():
    class Forgetful(ToyCodec):
        def subscribe(self, next_id, topics):
            return super().subscribe(next_id, topics[:1])

    session = make("x", "y", codec=Forgetful())
    session.dial(T0)
    session.opened(T0)
    assert session.control(Ack(1), T0) == [Confirmed(("x",))]
    due_ns = T0 + Timing().ack_ns
    session.heard_ns = due_ns
    assert not any(isinstance(effect, Abort) for effect in session.tick(due_ns - 1))
    assert Abort() in session.tick(due_ns)
