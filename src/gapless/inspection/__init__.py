"""Examining a capture: what is in it, and what is provably missing.

Pure: records in, a report out.  The numbers that a venue sends are compared here one by one, from
the first frame on, whether or not a snapshot makes a book of them; the books are those of the
product itself, kept by the very streams that a feed uses.  Reading files, and showing what was
found, belongs to `gapless.capture` and `gapless.cli.inspect`.
"""
