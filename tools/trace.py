# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.trace: the command."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import BinaryIO, Final, NoReturn

from ksmbd.kernel.capture import Capture, Wanted, open_capture
from mountd.commandline import HELP, RUNDIR, VERBOSE, VERSION, Command, Option, Parsed
from mountd.rundir import RunDirectory
from mountd.trace import capture_file, choose, detail, keys, lines
from mountd.trace.choose import Choice
from mountd.trace.exchange import Command as Traced
from mountd.trace.feed import Feed
from mountd.trace.keys import KeyRing
from mountd.trace.summary import Summary
from mountd.trace.tracer import Tracer

COMMAND = Command(
    name="ksmbd.trace",
    summary="Show what clients and the server say to each other, a line a command, also where it is encrypted.",
    usage=(
        "[-R DIR] [FILTERS] [--json | --summary[=SECONDS]] [-w FILE]",
        "-r FILE [-k KEYS] [-p PORT] [FILTERS] [--json | --summary]",
    ),
    options=(
        Option("", "client", "what concerns this address or network", "ADDRESS"),
        Option("u", "user", "what concerns this account", "NAME"),
        Option("s", "share", "what concerns this share", "NAME"),
        Option("", "path", "what concerns files that this pattern describes, such as '*.docx'", "PATTERN"),
        Option("", "follow", "what concerns this file", "FILE"),
        Option("c", "command", "these commands alone, such as create,close", "COMMANDS"),
        Option("", "status", "these outcomes alone, such as access_denied; error: all but success", "STATUS"),
        Option("", "slower", "what takes so many milliseconds or more", "MS"),
        Option("", "direction", "capture what comes in, or goes out, alone: in or out", "WHICH"),
        Option("", "json", "print an object a line"),
        Option("", "tree", "show which commands came in one compound"),
        Option("", "hex", "print the bytes of each message, decrypted"),
        Option("", "summary", "instead of lines print a table of commands at the end, or every SECONDS", "SECONDS",
               optional=True),
        Option("w", "write", "write the packets to FILE (pcapng), and the keys of encrypted sessions to\nFILE.keys",
               "FILE"),
        Option("r", "read", "read a capture (pcap or pcapng) instead of the network", "FILE"),
        Option("k", "keys", "with -r: the file of keys; default FILE.keys where there is one", "KEYS"),
        Option("p", "port", "the port of the server; default: what the server listens on, with -r 445", "PORT"),
        RUNDIR,
        VERBOSE,
        VERSION,
        HELP,
    ),
    epilog="Filters may be given several times; -v prints all fields of each message.",
)  # fmt: skip

WAIT: Final = 0.1
"""Seconds to wait for packets before lines are written out."""
SMB_PORT: Final = "445"


class Output:
    """Prints Commands in the way that the options ask for."""

    def __init__(self, parsed: Parsed, choice: Choice) -> None:
        self._choice = choice
        self._json, self._tree = parsed.has("json"), parsed.has("tree")
        self._hex, self._verbose = parsed.has("hex"), parsed.has("verbose")
        self.summary = Summary() if parsed.has("summary") else None
        self.shown = 0

    def take(self, command: Traced) -> None:
        """Print a Command, where it is wanted."""
        if not self._choice.takes(command):
            return
        self.shown += 1
        if self.summary is not None:
            self.summary.add(command)
            return
        write = sys.stdout.write
        write((lines.as_json(command) if self._json else lines.as_text(command, self._tree)) + "\n")
        for title, message in (("request", command.request), ("reply", command.reply)):
            if self._hex:
                write("".join(line + "\n" for line in lines.hex_lines(title, message)))
            if self._verbose:
                write("".join(line + "\n" for line in detail.detail(title, message)))

    def print_summary(self) -> None:
        """Print the table so far."""
        if self.summary is None:
            return
        if self._json:
            print(json.dumps({"commands": self.summary.objects()}))
        else:
            print("\n".join(self.summary.lines()))
        sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0; a failure prints one line on stderr and exits with 1."""
    parsed = COMMAND.start(argv)
    if parsed.arguments:
        COMMAND.fail(f"unexpected argument {parsed.arguments[0]!r}; ksmbd.trace --help lists the options")
    choice = _choice(parsed)
    if parsed.has("verbose") and not detail.available():
        COMMAND.fail("-v needs scapy: pip install scapy")
    try:
        read = parsed.last("read")
        return _read(parsed, choice, read) if read is not None else _live(parsed, choice)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _listed(parsed: Parsed, name: str) -> list[str]:
    return [word for text in parsed.all(name) for word in text.replace(",", " ").split()]


def _choice(parsed: Parsed) -> Choice:
    """The filters. What is wrong with one ends the command."""
    paths = [choose.path_pattern(text) for text in parsed.all("path")]
    paths += [choose.path_pattern(text).replace("[", "[[]") for text in parsed.all("follow")]
    try:
        return Choice(
            clients=tuple(ipaddress.ip_network(text, strict=False) for text in _listed(parsed, "client")),
            users=frozenset(text.lower() for text in parsed.all("user")),
            shares=frozenset(text.lower() for text in parsed.all("share")),
            paths=tuple(paths),
            commands=frozenset(choose.command_name(text) for text in _listed(parsed, "command")),
            statuses=frozenset(choose.status_name(text) for text in _listed(parsed, "status")),
            slower_us=float(parsed.last("slower") or 0) * 1000,
        )
    except ValueError as error:
        COMMAND.fail(str(error))


def _ports(parsed: Parsed, default: Sequence[str]) -> tuple[int, ...]:
    words = _listed(parsed, "port") or list(default)
    try:
        ports = tuple(int(word) for word in words)
        if not all(0 < port < 1 << 16 for port in ports):
            raise ValueError
    except ValueError:
        COMMAND.fail(f"-p: {' '.join(words)!r} is no port")
    return ports


def _read(parsed: Parsed, choice: Choice, path: str) -> int:
    """Trace a file."""
    ring = KeyRing()
    keys_path = parsed.last("keys") or (f"{path}.keys" if os.path.exists(f"{path}.keys") else "")
    try:
        if keys_path:
            with open(keys_path, encoding="ascii", errors="replace") as text:
                for each in keys.read(text.read()):
                    ring.add(each)
        output = Output(parsed, choice)
        tracer = Tracer(_ports(parsed, [SMB_PORT]), ring, output.take)
        with open(path, "rb") as stream:
            for packet in capture_file.read(stream):
                tracer.packet(packet.ns, packet.size, packet.data, packet.link)
    except OSError as error:
        COMMAND.fail(f"{error.filename or path}: {error.strerror}")
    except (ValueError, capture_file.FileProblem) as error:
        COMMAND.fail(f"{keys_path or path}: {error}" if isinstance(error, ValueError) else f"{path}: {error}")
    tracer.finish()
    output.print_summary()
    _tell(tracer, 0)
    return 0


def _live(parsed: Parsed, choice: Choice) -> int:
    """Trace a running server until a signal ends it."""
    feed = Feed(COMMAND, RunDirectory.from_option(parsed.last("rundir")))
    ports = _ports(parsed, [str(port) for port in feed.ports])
    directions = {None: 0, "in": 1, "out": 2}
    direction = parsed.last("direction")
    if direction not in directions:
        COMMAND.fail(f"--direction: {direction!r} is neither in nor out")
    output = Output(parsed, choice)
    ring = KeyRing()
    tracer = Tracer(ports, ring, output.take, waits_for_keys=feed.has_keys)
    wanted = Wanted(ports, tuple(str(network) for network in choice.clients), directions[direction])
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.append(number))
    try:
        capture, reasons = open_capture(wanted)
    except OSError as error:
        COMMAND.fail(f"packets cannot be captured: {error.strerror or error}; run it as root")
    for reason in reasons:
        COMMAND.note(f"goes on without {reason}")
    try:
        tracer.all.take(feed.listed())
        feed.start()
        if not feed.has_keys:
            COMMAND.note("the server keeps its keys (trace keys = no): encrypted messages are shown as SEALED")
        COMMAND.note(f"tracing port {', '.join(map(str, ports))} ({capture.how}); ^C ends it")
        Live(parsed, output, tracer, capture, feed).run(stopped)
    finally:
        capture.close()
    return 0


class Live:
    """The loop of a live trace."""

    def __init__(self, parsed: Parsed, output: Output, tracer: Tracer, capture: Capture, feed: Feed) -> None:
        self._output, self._tracer, self._capture, self._feed = output, tracer, capture, feed
        self._writer: capture_file.Writer | None = None
        self._files: list[BinaryIO] = []
        self._every = float(parsed.last("summary") or 0)
        path = parsed.last("write")
        if path is not None:
            self._open(path)

    def _open(self, path: str) -> None:
        try:
            for name in (path, f"{path}.keys"):
                self._files.append(os.fdopen(keys.create_file(name), "wb", 1 << 20))
            self._writer = capture_file.Writer(self._files[0])
            self._files[1].write(b"# SessionId,SessionKey,S2C,C2S: Wireshark's table smb2_seskey_list\n")
        except OSError as error:
            COMMAND.fail(f"{error.filename or path}: {error.strerror}")

    def run(self, stopped: Sequence[int]) -> None:
        """Trace until `stopped` has a signal."""
        begun = time.monotonic()
        while not stopped:
            self._turn()
            if self._every and time.monotonic() - begun >= self._every:
                begun += self._every
                self._output.print_summary()
        self._feed.stop()
        self._turn()
        self._tracer.finish()
        self._output.print_summary()
        sys.stdout.flush()
        for file in self._files:
            file.close()
        _tell(self._tracer, self._capture.lost)

    def _turn(self) -> None:
        """Take what has come."""
        tracer, writer = self._tracer, self._writer
        try:
            for ns, size, data in self._capture.packets(WAIT):
                if writer is not None:
                    writer.packet(ns, size, data)
                tracer.packet(ns, size, data)
        except OSError as error:
            _no_room(error)
        self._take_keys()
        tracer.overdue(time.time_ns())
        sys.stdout.flush()

    def _take_keys(self) -> None:
        fresh = False
        while not self._feed.keys.empty():
            each = self._feed.keys.get()
            if self._tracer.keys.add(each):
                fresh = True
                if self._files:
                    self._files[1].write(each.line().encode() + b"\n")
        if fresh:
            self._tracer.new_keys()


def _no_room(error: OSError) -> NoReturn:
    COMMAND.fail(f"the capture cannot be written: {error.strerror}")


def _tell(tracer: Tracer, lost: int) -> None:
    """Say what is missing."""
    counts = tracer.counts
    missing = []
    if lost:
        missing.append(f"{lost} packets lost because this program was too slow")
    if counts.gaps:
        missing.append(f"{counts.lost_bytes} bytes missing at {counts.gaps} places")
    if counts.again:
        missing.append(f"{counts.again} retransmissions")
    if counts.reordered:
        missing.append(f"{counts.reordered} segments out of order")
    COMMAND.note(f"{counts.packets} packets; " + ("; ".join(missing) or "nothing is missing"))
