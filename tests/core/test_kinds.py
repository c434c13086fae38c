"""Which kind of stream a topic is, cell by cell."""

from __future__ import annotations

from typing import get_args

import pytest
from tests.core.worlds import Log, spec

from gapless.core.backfill import BackfilledStream
from gapless.core.bookcuts import BookCutStream
from gapless.core.bookimages import BookImageStream
from gapless.core.bookruns import BookRunStream
from gapless.core.booksync import BookStream
from gapless.core.identities import IdentityStream
from gapless.core.images import ImageStream
from gapless.core.kinds import AnyBook, stream_for
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Backfill, SnapshotFrom, TopicSpec

N, S = Numbering, SnapshotFrom

KINDS = {
    (N.DENSE, None): SequencedStream,
    (N.CHAIN, None): SequencedStream,
    (N.ORDERED, None): ImageStream,
    (N.IDENTITY, None): IdentityStream,
    (N.NONE, None): ImageStream,
    (N.DENSE, S.STREAM): BookStream,
    (N.CHAIN, S.STREAM): BookCutStream,
    (N.ORDERED, S.STREAM): BookRunStream,
    (N.IDENTITY, S.STREAM): BookRunStream,
    (N.NONE, S.STREAM): BookRunStream,
    (N.DENSE, S.REST): BookStream,
    (N.CHAIN, S.REST): BookStream,
    (N.ORDERED, S.REST): BookRunStream,
    (N.IDENTITY, S.REST): BookRunStream,
    (N.NONE, S.REST): BookRunStream,
    (N.DENSE, S.EVERY): BookImageStream,
    (N.CHAIN, S.EVERY): BookImageStream,
    (N.ORDERED, S.EVERY): BookImageStream,
    (N.IDENTITY, S.EVERY): BookImageStream,
    (N.NONE, S.EVERY): BookImageStream,
}


@pytest.mark.parametrize("numbering", Numbering)
@pytest.mark.parametrize("snapshot", [None, *SnapshotFrom])
def test_every_topic_has_its_kind(numbering, snapshot):
    log = Log()
    stream = stream_for(spec(numbering, "x", snapshot), log.events.append, log.needs.append)
    assert type(stream) is KINDS[numbering, snapshot]
    assert isinstance(stream, AnyBook) == (snapshot is not None)


@pytest.mark.parametrize("backfill", Backfill)
@pytest.mark.parametrize("numbering", Numbering)
def test_only_trades_whose_every_number_exists_are_asked_for_again(numbering, backfill):
    topic = TopicSpec("venue", "trades", "X", "t", numbering, backfill=backfill)
    stream = stream_for(topic, lambda event: None, lambda need: None)
    fills = numbering is Numbering.DENSE and backfill is not Backfill.OFF
    assert isinstance(stream, BackfilledStream) == fills


def test_whatever_is_a_book_can_be_read_the_same_way():
    for kind in get_args(AnyBook):
        for name in ("readable", "book", "proven", "image", "rebuild", "resyncs", "because"):
            stream = kind(
                spec(Numbering.DENSE, "x", SnapshotFrom.EVERY), lambda e: None, lambda n: None
            )
            assert hasattr(stream, name)
