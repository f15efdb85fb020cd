"""The command ``fastrtc``."""

from __future__ import annotations

import argparse
import sys

from fastrtc import models_command
from fastrtc.cluster import command as serve_command
from fastrtc.loading import load_stream
from fastrtc.transports.webrtc.place import ADDRESS_VARIABLE, PORTS_VARIABLE, read_place


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="fastrtc", description="Voice lines for functions.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve a stream with its page")
    run.add_argument("target", help="module:stream or file.py:stream")
    run.add_argument(
        "--grace",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long calls may go on after SIGTERM; default: %(default)g",
    )
    serve = commands.add_parser("serve", help="serve it on a cluster, or on all cores")
    serve_command.add_to(serve)
    for command in (run, serve):
        add_media_options(command)
    demo = commands.add_parser("demo", help="talk to a parrot with a phrase book")
    for command in (run, demo):
        command.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
        command.add_argument("--port", type=int, default=7860, help="default: %(default)s")
    models_command.add_to(commands)
    bench = commands.add_parser("bench", help="measure how many calls this machine carries")
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["bench"]:
        # Imported here: the other commands need nothing of it.
        from fastrtc.bench import command as bench_command

        bench_command.add_to(bench)
        sys.exit(bench_command.run(parser.parse_args(given)))
    options = parser.parse_args(given)
    if options.command == "models":
        sys.exit(models_command.run(options.action, options.names))
    if options.command == "demo":
        from fastrtc.demo import stream

        stream.run(options.host, options.port)
        return
    try:
        read_place(options.media_address, options.media_ports)
    except ValueError as error:
        parser.error(str(error))
    if options.command == "serve":
        serve_command.run(options)
    else:
        load_stream(options.target).run(
            options.host,
            options.port,
            grace=options.grace,
            media_address=options.media_address,
            media_ports=options.media_ports,
        )


def add_media_options(command: argparse.ArgumentParser) -> None:
    """Let a command be told where the media of its server is reached; see `read_place`."""
    command.add_argument(
        "--media-address",
        metavar="ADDRESS",
        help="the IP address at which callers reach this server's UDP ports; default: "
        f"{ADDRESS_VARIABLE}, or all addresses of this machine",
    )
    command.add_argument(
        "--media-ports",
        metavar="FIRST-LAST",
        help="the UDP ports for calls, one each; default: "
        f"{PORTS_VARIABLE}, or those that the system gives out",
    )


if __name__ == "__main__":
    main()
