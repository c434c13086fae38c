"""A bad network on command, before any WebSocket server and for any client.

`plan`, `faults`, `frames`, `board`, `messages`, `pipe` and `heads` are pure: they are told the time
and hand back bytes.  Only `link` and `server` know sockets and clocks.
"""
