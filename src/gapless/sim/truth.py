"""The simulator's own record of what happened, for comparison with what a consumer saw.

Records are plain dictionaries with a ``type``:

* ``world``: one event of one topic, as a consumer of that topic would see it, whether or not
  anybody was connected: ``venue channel topic symbol ns event_ns n first last`` and the payload
  (trade: ``id price size side``; book: ``bids asks``; bbo: ``bid bid_size ask ask_size``;
  ticker: its fields).  ``n`` counts the messages of the topic from 1; messages with several
  trades give several records with the same ``n``.  ``event_ns`` is the time printed in the
  message, `None` if it prints none.  Where the numbering is a chain, ``first`` is the previous
  number plus one.
* ``sent``: one message to one session: ``session topic n first last ns fault``.  ``fault`` is
  `None`, or the name of the fault that kept the message back (then it was not sent) or changed
  its fate (``duplicate``, ``reorder``, ``lag``: it was sent); ``cut`` if it was still waiting
  when the session ended.  ``n`` is `None` for snapshots and
  images that only this session got.
* ``session``: ``session what ns cause``, ``what`` being ``opened`` or ``closed``.
* ``dial``: a dial that was refused: ``peer ns status``.
* ``rest``: ``path symbol ns status``.
* ``fault``: ``id name at_ns happened over``, written when it is injected and when it ends.
* ``final``: ``symbol number bids asks`` for each symbol when the exchange is closed.

``first``, ``last`` and ``number`` are in the venue's numbering of that topic.
"""

from __future__ import annotations

from typing import IO, Any, Protocol

import msgspec

__all__ = ["MemoryTruth", "NdjsonTruth", "Record", "TruthSink"]

Record = dict[str, Any]


class TruthSink(Protocol):
    """Where records go."""

    def write(self, record: Record) -> None:
        """Take one record; it is not changed afterwards."""
        ...


class MemoryTruth:
    """Keeps records in memory.

    Attributes:
        records: What was kept, in order.
        dropped: How many did not fit.
    """

    def __init__(self, limit: int | None = None) -> None:
        """Create an empty sink that keeps the first ``limit`` records; `None` keeps all."""
        self.records: list[Record] = []
        self.dropped = 0
        self._limit = limit

    def write(self, record: Record) -> None:
        if self._limit is not None and len(self.records) >= self._limit:
            self.dropped += 1
        else:
            self.records.append(record)

    def of(self, kind: str, **fields: Any) -> list[Record]:
        """Return the records of one type whose fields have the given values."""
        return [
            record
            for record in self.records
            if record["type"] == kind and all(record.get(k) == v for k, v in fields.items())
        ]


class NdjsonTruth:
    """Writes one JSON object a line to an open binary file, which it does not close.

    Attributes:
        written: Lines written so far.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.written = 0
        self._file = file
        self._encode = msgspec.json.Encoder().encode

    def write(self, record: Record) -> None:
        self._file.write(self._encode(record) + b"\n")
        self.written += 1
