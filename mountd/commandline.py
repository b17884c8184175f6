# SPDX-License-Identifier: GPL-2.0-or-later
"""Parses command lines as getopt_long does, and prints the help text, both from one table of options.

It accepts -pVALUE, -p VALUE, --password=VALUE, unambiguous abbreviations of long names, options after arguments, and
`--`. A value may begin with a dash.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn


@dataclass(frozen=True)
class Option:
    """One option. `argument` is the name of its argument in the help, empty for none. `optional`: the argument may be
    left out; where it is given, it must be attached, as in -n1."""

    short: str
    long: str
    help: str
    argument: str = ""
    optional: bool = False

    def names(self) -> str:
        """The option's names as the help shows them."""
        if self.optional:
            long, short = f"--{self.long}[={self.argument}]", f"-{self.short}[{self.argument}]"
        elif self.argument:
            long, short = f"--{self.long}={self.argument}", f"-{self.short} {self.argument}"
        else:
            long, short = f"--{self.long}", f"-{self.short}"
        return f"{short}, {long}" if self.short else f"    {long}"


RUNDIR = Option("R", "rundir", "the server's run directory; default $KSMBD_RUNDIR, else /run/ksmbd", "DIR")
VERBOSE = Option("v", "verbose", "print what is done")
VERSION = Option("V", "version", "print the version and exit")
HELP = Option("h", "help", "print this help and exit")


class UsageError(Exception):
    """The command line is wrong. The message is one line."""


@dataclass(frozen=True)
class Parsed:
    """The parsed command line: (long name, value) of the options in the order given, and the arguments. An option
    without argument has the value ''."""

    options: tuple[tuple[str, str], ...]
    arguments: tuple[str, ...]

    def last(self, long: str) -> str | None:
        """The last value that was given for an option, or None."""
        return next((value for name, value in reversed(self.options) if name == long), None)

    def has(self, long: str) -> bool:
        """Whether the option was given."""
        return self.last(long) is not None

    def all(self, long: str) -> list[str]:
        """All values that were given for an option."""
        return [value for name, value in self.options if name == long]


@dataclass(frozen=True)
class Command:
    """A command: its name, a summary, usage lines, and its options."""

    name: str
    summary: str
    usage: tuple[str, ...]
    options: tuple[Option, ...]
    epilog: str = ""

    def help(self) -> str:
        """The text of --help."""
        width = max(len(option.names()) for option in self.options) + 2
        lines = [f"{'Usage:' if not i else '      '} {self.name} {usage}" for i, usage in enumerate(self.usage)]
        lines += ["", self.summary, ""]
        for option in self.options:
            text = option.help.replace("\n", "\n" + " " * (width + 2))
            lines.append(f"  {option.names():<{width}}{text}")
        if self.epilog:
            lines.append("")
            lines += [textwrap.fill(paragraph, 100) for paragraph in self.epilog.split("\n")]
        return "\n".join(lines) + "\n"

    def parse(self, argv: Sequence[str]) -> Parsed:
        """Parse the arguments after the command's name. Raises UsageError."""
        options: list[tuple[str, str]] = []
        arguments: list[str] = []
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                arguments += rest
                break
            if word.startswith("--"):
                options.append(self._long(word[2:], rest))
            elif word.startswith("-") and word != "-":
                options += self._short(word[1:], rest)
            else:
                arguments.append(word)
        return Parsed(tuple(options), tuple(arguments))

    def _long(self, word: str, rest: list[str]) -> tuple[str, str]:
        name, equals, value = word.partition("=")
        matches = [option for option in self.options if option.long == name]
        if not matches:
            matches = [option for option in self.options if option.long.startswith(name)]
        if not matches:
            raise UsageError(f"unknown option --{name}")
        if len(matches) > 1:
            raise UsageError(f"option --{name} is ambiguous: " + ", ".join(f"--{option.long}" for option in matches))
        option = matches[0]
        if not option.argument:
            if equals:
                raise UsageError(f"option --{option.long} takes no argument")
            return option.long, ""
        if equals or option.optional:
            return option.long, value
        if not rest:
            raise UsageError(f"option --{option.long} needs {option.argument}")
        return option.long, rest.pop(0)

    def _short(self, letters: str, rest: list[str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        while letters:
            letter, letters = letters[0], letters[1:]
            option = next((option for option in self.options if option.short == letter), None)
            if option is None:
                raise UsageError(f"unknown option -{letter}")
            if not option.argument:
                found.append((option.long, ""))
            elif letters or option.optional:
                found.append((option.long, letters))
                letters = ""
            elif rest:
                found.append((option.long, rest.pop(0)))
            else:
                raise UsageError(f"option -{letter} needs {option.argument}")
        return found

    def start(self, argv: Sequence[str] | None) -> Parsed:
        """Parse the command line for a main function. -h and -V print and exit with 0; a wrong command line exits with
        1. Raises SystemExit."""
        try:
            parsed = self.parse(sys.argv[1:] if argv is None else argv)
        except UsageError as error:
            self.fail(f"{error}; {self.name} --help lists the options")
        if parsed.has("help"):
            sys.stdout.write(self.help())
            raise SystemExit(0)
        if parsed.has("version"):
            print(f"{self.name} (ksmbd) {package_version()}")
            raise SystemExit(0)
        return parsed

    def action(self, parsed: Parsed) -> str:
        """Which of --add, --delete and --update was given; "add or update" without any. With two of them the command
        fails."""
        given = [name for name in ("add", "delete", "update") if parsed.has(name)]
        if len(given) > 1:
            self.fail("only one of -a, -d and -u at a time")
        return given[0] if given else "add or update"

    def argument(self, parsed: Parsed, kind: str) -> str:
        """The only argument: the name of a `kind`, such as "share". With none or several the command fails."""
        if len(parsed.arguments) != 1:
            self.fail(f"name one {kind}; {self.name} --help shows how" if not parsed.arguments
                      else f"one {kind} at a time, not {len(parsed.arguments)}")
        return parsed.arguments[0]

    def fail(self, message: str) -> NoReturn:
        """Print one line on stderr and exit with 1."""
        self.note(message)
        raise SystemExit(1)

    def note(self, message: str) -> None:
        """Print one line on stderr."""
        print(f"{self.name}: {message}", file=sys.stderr)


def package_version() -> str:
    """The version of the installed package."""
    from importlib import metadata  # 1.5 MiB, for this alone

    return metadata.version("ksmbd")
