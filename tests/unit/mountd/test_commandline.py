# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines are read as getopt_long reads them."""

from __future__ import annotations

import pytest

from mountd.commandline import HELP, VERSION, Command, Option, UsageError

COMMAND = Command(
    name="cmd",
    summary="Does it.",
    usage=("[-p PWD] NAME",),
    options=(
        Option("p", "password", "the password", "PWD"),
        Option("P", "pwddb", "the database", "DB"),
        Option("n", "nodetach", "stay", "WAY", optional=True),
        Option("v", "verbose", "talk"),
        Option("", "json", "as JSON"),
        VERSION,
        HELP,
    ),
)


@pytest.mark.parametrize(
    ("argv", "options", "arguments"),
    [
        (["-pPW", "u"], [("password", "PW")], ["u"]),
        (["-p", "PW", "u"], [("password", "PW")], ["u"]),
        (["-p", "-x", "u"], [("password", "-x")], ["u"]),
        (["-p", "", "u"], [("password", "")], ["u"]),
        (["--password=P=W"], [("password", "P=W")], []),
        (["--password", "--verbose"], [("password", "--verbose")], []),
        (["--pa=1"], [("password", "1")], []),
        (["u", "-v", "w"], [("verbose", "")], ["u", "w"]),
        (["-vvpx"], [("verbose", ""), ("verbose", ""), ("password", "x")], []),
        (["-n"], [("nodetach", "")], []),
        (["-n0", "1"], [("nodetach", "0")], ["1"]),
        (["--nodetach", "1"], [("nodetach", "")], ["1"]),
        (["--nodetach=0"], [("nodetach", "0")], []),
        (["--", "-v", "--"], [], ["-v", "--"]),
        (["-"], [], ["-"]),
        (["--json"], [("json", "")], []),
    ],
)
def test_parse(argv: list[str], options: list[tuple[str, str]], arguments: list[str]) -> None:
    parsed = COMMAND.parse(argv)
    assert (list(parsed.options), list(parsed.arguments)) == (options, arguments)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-x"], "unknown option -x"),
        (["--nope"], "unknown option --nope"),
        (["--p=1"], "option --p is ambiguous: --password, --pwddb"),
        (["-p"], "option -p needs PWD"),
        (["--password"], "option --password needs PWD"),
        (["--verbose=1"], "option --verbose takes no argument"),
    ],
)
def test_errors(argv: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        COMMAND.parse(argv)
    assert str(caught.value) == message


def test_of_an_option_given_twice_the_last_counts_or_all() -> None:
    parsed = COMMAND.parse(["-pa", "-pb"])
    assert (parsed.last("password"), parsed.all("password"), parsed.last("pwddb")) == ("b", ["a", "b"], None)


def test_help_and_version_leave_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, text in (("-h", "--nodetach[=WAY]"), ("--version", "cmd (ksmbd) ")):
        with pytest.raises(SystemExit) as caught:
            COMMAND.start([flag])
        assert caught.value.code == 0
        assert text in capsys.readouterr().out


def test_a_wrong_command_line_leaves_with_1_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        COMMAND.start(["-x"])
    assert caught.value.code == 1
    assert capsys.readouterr().err == "cmd: unknown option -x; cmd --help lists the options\n"
