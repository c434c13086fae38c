"""Serving a capture word for word, for ``gapless sim`` of a venue that it does not speak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gapless.cli import exits
from gapless.cli.running import Stop, run

if TYPE_CHECKING:
    from gapless.capture.script import Script

__all__ = ["serve"]


def serve(
    venue: str,
    capture: str,
    *,
    host: str,
    port: int,
    speed: float,
    for_s: float | None,
    as_json: bool,
    stop: Stop,
) -> int:
    """Serve until ``stop``; return the exit code.

    Raises:
        gapless.errors.UsageError: There is no such venue.
        gapless.cli.exits.Failure: The capture cannot be read, or the port not be had.
    """
    from gapless.capture.records import CaptureDamaged
    from gapless.capture.script import load_script
    from gapless.venues._registry import load

    name = load(venue).name
    try:
        script = load_script(Path(capture))
    except CaptureDamaged as error:
        raise exits.Failure(exits.DAMAGED, str(error)) from error
    if not script.ours:
        exits.say(
            f"the simulator does not speak {name}, and this capture holds no answers to gapless: "
            "what connects will get the frames, and never a yes"
        )

    async def body(stop: Stop) -> None:
        await _until(stop, name, script, host, port, speed, as_json=as_json)

    run(body, stop, for_s)
    return exits.FINE


async def _until(
    stop: Stop, name: str, script: Script, host: str, port: int, speed: float, *, as_json: bool
) -> None:
    from gapless.cli.ndjson import json_line
    from gapless.sim.replay_server import ReplayServer

    try:
        async with ReplayServer(name, script, host, port, speed=speed) as server:
            count = len(script.connections)
            exits.say(f"RECORDED {name}: {count} connections of a capture, word for word")
            exits.say(f"  ws {server.ws_url}   rest {server.http_url}")
            if as_json:
                line = {
                    "type": "listening",
                    "venue": name,
                    "ws": server.ws_url,
                    "rest": server.http_url,
                    "connections": count,
                }
                click.echo(json_line(line).decode(), nl=False)
            await stop.wait()
    except OSError as error:
        words = f"cannot listen: {error.strerror or error}"
        raise exits.Failure(exits.UNREACHABLE, words) from error
