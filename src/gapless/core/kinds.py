"""Which kind of stream a topic is."""

from __future__ import annotations

from collections.abc import Callable

from gapless.core.backfill import BackfilledStream
from gapless.core.bookcuts import BookCutStream
from gapless.core.bookimages import BookImageStream
from gapless.core.bookruns import BookRunStream
from gapless.core.booksync import BookStream
from gapless.core.identities import IdentityStream
from gapless.core.images import ImageStream
from gapless.core.sequence import Numbering
from gapless.core.sequenced import SequencedStream
from gapless.core.stream import Backfill, Need, SnapshotFrom, Stream, TopicSpec
from gapless.events import Event

__all__ = ["AnyBook", "stream_for"]

AnyBook = BookStream | BookRunStream | BookImageStream
"""A stream that owns a book, which can be read while it is proven."""


def stream_for(
    spec: TopicSpec, emit: Callable[[Event], None], ask: Callable[[Need], None]
) -> Stream:
    """Return the stream for a topic; see `gapless.core.stream.Stream` for the arguments."""
    numbered = spec.numbering in {Numbering.DENSE, Numbering.CHAIN}
    match spec.snapshot:
        case SnapshotFrom.EVERY:
            return BookImageStream(spec, emit, ask)
        case SnapshotFrom.STREAM if spec.numbering is Numbering.CHAIN:
            return BookCutStream(spec, emit, ask)
        case SnapshotFrom.STREAM | SnapshotFrom.REST if numbered:
            return BookStream(spec, emit, ask)
        case SnapshotFrom.STREAM | SnapshotFrom.REST:
            return BookRunStream(spec, emit, ask)
        case None if spec.numbering is Numbering.DENSE and spec.backfill is not Backfill.OFF:
            return BackfilledStream(spec, emit, ask)
        case None if numbered:
            return SequencedStream(spec, emit, ask)
        case None if spec.numbering is Numbering.IDENTITY:
            return IdentityStream(spec, emit, ask)
        case None:
            return ImageStream(spec, emit, ask)
