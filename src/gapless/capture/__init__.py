"""Captures: what came over the wire, written so that it can be proven, read and replayed.

`gapless.capture.reader.open_capture` reads any capture; `gapless.capture.recorder` writes them;
`gapless.capture.replay` plays them to a client.  This page imports none of them: the simulator
uses the reading half and may not know sockets.
"""
