"""Topics whose every message is a full image, such as tickers and best quotes.

A newer image supersedes all older ones, so what matters is never to step back and never to
repeat.  Where the venue numbers its images the number orders them; otherwise its time does.
Holes cannot be seen from the messages, therefore every stretch without a trusted source is
announced as an interval.  It ends with the first image that comes after it, and not with the
confirmation of a new subscription: a venue that confirms and stays silent has proven nothing.
Only an image that is the very one we had last proves that there was none in between.

A session that joins another is held back until its images meet those delivered: until then it
may have come too late for something that the other, perhaps silent already, did not bring.  A
greeting that shows what we have is no such meeting: prices come back to where they were.

Images with neither number nor time are delivered as one session brings them, which leads.  What
the others bring is compared with what was delivered lately, so that each knows how far it has
come: when the lead ends, another takes over at the very image where it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from gapless.core.sequence import Numbering
from gapless.core.stream import HOLD_NS, Moment, Need, Source, Stream, TopicSpec, moment
from gapless.events import Event, Origin

__all__ = ["DOUBT_MAX_NS", "LATELY_MAX", "WAITING_MAX", "ImageStream"]

WAITING_MAX: Final = 4096
"""Images held back at most of sessions that have not joined yet."""

DOUBT_MAX_NS: Final = 3_000_000_000
"""How long images are held back for a session whose path is in doubt; by then it is judged."""

LATELY_MAX: Final = 64
"""Images without number and time that are compared at most, delivered ones and those ahead."""


class _Course:
    """How far one session has come that brings images with neither number nor time.

    Attributes:
        place: Which delivered image its newest was, counted from the first; -1 for none.
        ahead: What it has brought and the lead has not, oldest first.
    """

    __slots__ = ("ahead", "place")

    def __init__(self) -> None:
        self.place = -1
        self.ahead: deque[Event] = deque(maxlen=LATELY_MAX)


class ImageStream(Stream):
    """Full images, ordered by number or by the venue's time."""

    __slots__ = (
        "_count",
        "_courses",
        "_disputed_image",
        "_front",
        "_key",
        "_lead",
        "_ordered",
        "_shown",
        "_waiting",
        "_waiting_key",
        "_waiting_since_ns",
    )

    def __init__(
        self, spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
    ) -> None:
        super().__init__(spec, emit, ask)
        self._ordered = spec.numbering is not Numbering.NONE
        self._key = -1  # number or time of the newest image
        self._lead: Origin | None = None  # who brought it; `None` while anything is special
        self._waiting: list[Event] = []  # images of sessions that have not joined yet
        self._waiting_key = -1  # key of the first that waited
        self._waiting_since_ns = 0
        self._disputed_image = False  # a gap says so, and the next image ends it
        # Of images with neither number nor time:
        self._front: int | None = None  # the session that is delivered
        self._courses: dict[int, _Course] = {}
        self._shown: deque[Event] = deque(maxlen=LATELY_MAX)  # what was delivered last
        self._count = 0  # and how much ever was

    @property
    def arrived(self) -> int:
        """How many images have come; those that wait count while they do."""
        ahead = sum(len(course.ahead) for course in self._courses.values())
        return super().arrived + ahead + len(self._waiting)

    def offer(self, event: Event) -> None:
        """Take one image from any source."""
        key = event.last if self._ordered else event.event_ns
        if event.origin is self._lead and key is not None and key > self._key:
            self._key = key
            self.newest = event
            self.delivered += 1
            self._emit(event)
            if self._lately is not None:
                self._lately.note(key, event)
        else:
            self._unusual(event, key)

    def held_for(self, now_ns: int) -> tuple[int, list[int]] | None:
        """Return since when images wait for sessions that should have brought them, and which."""
        if not self._waiting and not any(course.ahead for course in self._courses.values()):
            return None
        ahead = [c.ahead[0].mono_ns for c in self._courses.values() if c.ahead]
        since_ns = min([self._waiting_since_ns, *ahead] if self._waiting else ahead)
        if not since_ns + HOLD_NS <= now_ns < since_ns + DOUBT_MAX_NS:
            return None
        return since_ns, [e for e, s in self.sources.items() if s.trusted and self._has_joined(s)]

    def tick(self, now: Moment) -> None:
        """Give up on a session that does not bring what another has brought long ago."""
        for epoch, course in list(self._courses.items()):
            late = course.ahead and now.mono_ns >= course.ahead[0].mono_ns + HOLD_NS
            if late and self._is_trusted(epoch):
                self._cause = "a line fell behind"
                self._take_the_lead(epoch, course, course.ahead[0].mono_ns)
        while self._waiting and now.mono_ns >= self._waiting_since_ns + HOLD_NS:
            self._cause = "a line fell behind"
            self._give_up_waiting(self._waiting_since_ns)

    def _key_of(self, event: Event) -> int | None:
        return event.last if self._ordered else event.event_ns

    def _unusual(self, event: Event, key: int | None) -> None:
        blind_since_ns = self._blind_since_ns
        known = self.sources.get(event.origin.epoch)
        first = known is None or known.seen is None
        source = self._trust_again(event)
        if blind_since_ns is not None:
            self._resume(event, key, blind_since_ns)
            return
        if key is None:
            self._align(event)
            return
        if not self._has_joined(source) and self.newest is not None:
            if key > self._key and first and self._shows_the_same(event):
                self.duplicates += 1  # made later, which does not tell what was in between
                return
            if key > self._key:
                self._wait(event, key)
                return
            source.joined = True
        elif (
            first
            and key > self._key
            and self.spec.speaks_on_subscribe
            and self._shows_the_same(event)
        ):
            self.duplicates += 1  # both lines were greeted, each at a time of its own
            return
        if self._accept(event, key):
            self._deliver(event, key)
        self._release()

    def _resume(self, event: Event, key: int | None, blind_since_ns: int) -> None:
        """Take the first image after a blind stretch."""
        if key is not None and key < self._key and not self._renumbered(event):
            self.out_of_order += 1  # from before the break: it says nothing of what came since
        elif self._is_newest(event, key):
            self._see_again(event)
            self.duplicates += 1
            self._resynced(event, "ids", blind_since_ns)
        else:
            self._gap(event.origin, moment(event), None, None, self._cause)
            self._see_again(event)
            self._disputed_image = False
            self._forget_courses()
            self._deliver(event, key)
            self._resynced(event, "snapshot", blind_since_ns)

    def _wait(self, event: Event, key: int) -> None:
        if not self._waiting:
            self._waiting_key, self._waiting_since_ns = key, event.mono_ns
        self._waiting.append(event)
        self._lead = None
        if len(self._waiting) > WAITING_MAX:
            self._cause = "a line fell behind"
            self._give_up_waiting(self._waiting_since_ns)

    def _release(self) -> None:
        """Let the session that waits join, once what it began with has been delivered."""
        if not self._waiting:
            return
        event = self._waiting[0]
        same = self._shows_the_same(event)
        if same or self._key >= self._waiting_key:
            self._join(event)
            waiting, self._waiting = self._waiting, []
            if same:
                self.duplicates += 1
                del waiting[0]
            self._lead = None if self.newest is None else self.newest.origin
            self._take_all(waiting)

    def _give_up_waiting(self, blind_since_ns: int) -> None:
        """Go on behind a gap with what has waited."""
        (event, *others), self._waiting = self._waiting, []
        self._resume(event, self._key_of(event), blind_since_ns)
        self._take_all(others)

    def _take_all(self, events: list[Event]) -> None:
        """Take what has waited, as if it came only now; some of it may have to wait on."""
        for event in events:
            if event.origin.epoch in self.sources:
                self._unusual(event, self._key_of(event))
            else:
                self.dropped += 1

    def _fewer_sources(self) -> None:
        self._lead = None  # a suspect that speaks again is to be noticed
        self._follow_another()
        arrived = len(self._waiting)
        self._waiting = [e for e in self._waiting if e.origin.epoch in self.sources]
        self.dropped += arrived - len(self._waiting)
        if not self._waiting:
            return
        if self._blind_since_ns is not None:
            self._give_up_waiting(self._blind_since_ns)
        else:
            self._release_joined()

    def _handed_over(self, source: Source, covered_ns: int) -> None:
        super()._handed_over(source, covered_ns)
        self._release_joined()

    def _release_joined(self) -> None:
        """Deliver what waits of a session that has joined meanwhile by other means."""
        source = self.sources.get(self._waiting[0].origin.epoch) if self._waiting else None
        if source is not None and self._has_joined(source):
            self._waiting_key = self._key
            self._release()

    def _deliver(self, event: Event, key: int | None) -> None:
        lately = self._lately
        if key is not None:
            if lately is not None and key < self._key:
                lately.clear()
            self._key = key
        else:
            self._note(event)
        self._lead = None if self._waiting else event.origin
        self.newest = event
        self.delivered += 1
        self._emit(event)
        if lately is not None:
            lately.note(key, event)
        if self._disputed_image:
            self._disputed_image = False
            self._resynced(event, "snapshot", self._disputed_ns)

    # -- images with neither number nor time ------------------------------------------------

    def _align(self, event: Event) -> None:
        """Deliver what the lead brings, and see how far another session has come."""
        epoch = event.origin.epoch
        course = self._courses.setdefault(epoch, _Course())
        place = self._place_of(event, course.place)
        if place is not None:
            self._join(event)
            twin = self._shown[place - self._count + len(self._shown)]
            self._race(twin, event)
            self.duplicates += 1 + len(course.ahead)  # the lead left those out
            course.place = place
            course.ahead.clear()
        elif self._front in {None, epoch} or not self._is_trusted(self._front):
            self._deliver(event, None)
        else:
            self.dropped += len(course.ahead) == LATELY_MAX  # the oldest makes room
            course.ahead.append(event)

    def _place_of(self, event: Event, after: int) -> int | None:
        """Return which of the images delivered after ``after`` this one is, if it is one.

        A session that has not met any is as far as its image was shown last.
        """
        shown, first = self._shown, self._count - len(self._shown)
        places = range(max(after + 1, first), self._count)
        for place in places if after >= 0 else reversed(places):
            if _payload(shown[place - first]) == _payload(event):
                return place
        return None

    def _note(self, event: Event) -> None:
        """Remember what is delivered, and who was ahead with it."""
        self._front = event.origin.epoch
        if len(self._courses) > 1:
            for epoch, course in self._courses.items():
                ahead = [_payload(each) for each in course.ahead]
                if epoch != self._front and _payload(event) in ahead:
                    place = ahead.index(_payload(event))
                    self._race(course.ahead[place], event)
                    for _ in range(place + 1):
                        self._join(course.ahead.popleft())
                        self.duplicates += 1
                    course.place = self._count
        self._courses.setdefault(self._front, _Course()).place = self._count
        self._shown.append(event)
        self._count += 1

    def _follow_another(self) -> None:
        """Let another session lead, if the one that did is gone or no longer trusted."""
        for epoch in [epoch for epoch in self._courses if epoch not in self.sources]:
            self.dropped += len(self._courses.pop(epoch).ahead)
        if self._front is None or self._is_trusted(self._front):
            return
        heirs = [epoch for epoch in self._courses if self._is_trusted(epoch)]
        if heirs:
            courses = self._courses
            best = max(heirs, key=lambda epoch: (courses[epoch].place, len(courses[epoch].ahead)))
            self._take_the_lead(best, courses[best], self._blind_since_ns or 0)

    def _take_the_lead(self, epoch: int, course: _Course, blind_since_ns: int) -> None:
        """Deliver what a session has brought beyond the lead; from now on it leads."""
        events, self._front = list(course.ahead), epoch
        course.ahead.clear()
        if self._blind_since_ns is None and self._has_joined(self.sources[epoch]):
            for event in events:
                self._deliver(event, None)
        elif events:
            self.dropped += len(events) - 1  # superseded, and who knows what was before them
            self._resume(events[-1], None, blind_since_ns)

    def _forget_courses(self) -> None:
        """Begin anew behind a gap."""
        self.dropped += sum(len(course.ahead) for course in self._courses.values())
        self._courses.clear()
        self._shown.clear()

    def _is_trusted(self, epoch: int) -> bool:
        source = self.sources.get(epoch)
        return source is not None and source.trusted

    # -- order ------------------------------------------------------------------------------

    def _accept(self, event: Event, key: int) -> bool:
        if key > self._key:
            return True
        if self._was_shown(event, key):
            return False
        if key < self._key:
            if self._renumbered(event):
                return True
            self.out_of_order += 1
            return False
        # Equal: two images of one millisecond are real on the same session, but from another
        # session they are the same images again.
        other_session = self.newest is not None and self.newest.origin is not event.origin
        if other_session or self._is_newest(event, key):
            self.duplicates += 1
            return False
        return True

    def _was_shown(self, event: Event, key: int) -> bool:
        """Take the very image that another session brought a moment ago, if it is one.

        Where images have no number but a time, two of one moment may well differ.
        """
        twin = None if self._lately is None else self._lately.find(key)
        epoch = event.origin.epoch
        if twin is None or twin.origin.epoch == epoch or twin.event_ns != event.event_ns:
            return False
        if self._compare(key, event):
            self._join(event)
            self.duplicates += 1
            return True
        if self._ordered:
            self.dropped += 1
            self._contradicted(key, event)
            self._disputed_image, self._lead = True, None
        return self._ordered

    def _renumbered(self, event: Event) -> bool:
        # A session's own images never step back, unless the venue has begun to count anew.
        newest = self.newest
        return super()._renumbered(event) or (
            newest is not None
            and newest.origin is event.origin
            and newest.event_ns is not None
            and event.event_ns is not None
            and event.event_ns > newest.event_ns
        )

    def _shows_the_same(self, event: Event) -> bool:
        """Whether an image differs from the newest at most in when it was made.

        Some venues greet a subscription with an image of now, though nothing has changed.
        """
        newest = self.newest
        if newest is None or self._ordered:  # a number says what is new, whatever it shows
            return False
        return _payload(event)[3:] == _payload(newest)[3:]

    def _is_newest(self, event: Event, key: int | None) -> bool:
        """Whether this is the very image that was delivered last."""
        if key is None or key != self._key or self.newest is None:
            return False
        return self._ordered or _payload(event) == _payload(self.newest)

    def _blinded(self) -> None:
        self._lead = None


def _payload(event: Event) -> tuple[object, ...]:
    """Return time, numbers and content, without where and when it came."""
    envelope = {"origin", "recv_ns", "mono_ns"}
    return tuple(getattr(event, n) for n in event.__struct_fields__ if n not in envelope)
