#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes man/ksmbd.conf.5 from the table of parameters: .venv/bin/python scripts/manpages.py

A test compares the file with what this would write.
"""

from __future__ import annotations

from pathlib import Path

from mountd.parameters import PARAMETERS, Kind, Parameter, Scope

TARGET = Path(__file__).resolve().parent.parent / "man" / "ksmbd.conf.5"

HEAD = r"""
.SH NAME
ksmbd.conf \- the configuration of ksmbd
.SH DESCRIPTION
.B ksmbd.mountd
reads this file when it starts and when it is told to reload
.RB ( "ksmbd.control \-r" ).
.B ksmbd.addshare
edits it. Where it is not named with \-C, it is
.IR /etc/ksmbd/ksmbd.conf .
.SH FORMAT
A section begins with its name in brackets and holds lines of the form
.IR "parameter = value" .
.B [global]
is about the server; every other section is a share, and its name is the share's name: 1 to 63 bytes of UTF-8,
in whatever case. Sections of the same name are one.
.PP
A semicolon or a hash begins a comment, which goes to the end of the line, behind a value too.
Names of parameters may be written in any case.
Where a parameter stands twice in a section, the first value that is not empty counts.
.PP
A parameter that is not known is ignored with a warning. A value that is not allowed is an error, and
.B ksmbd.mountd
does not start with it, or goes on with its previous configuration when it is reloading.
Both messages name the file and the line.
.PP
.I Booleans
are yes, true, 1, enable, and no, false, 0, disable.
.I Lists
are separated by commas, tabs or spaces; a member with a space in it stands in double quotes.
In lists of users
.I @group
is all members of a Unix group.
.I Sizes
may have the suffixes K, M, G, T, P and E.
.I Masks
and modes are octal.
.SH PARAMETERS
.B (G)
parameters stand in [global] alone.
.B (S)
parameters are a share's; in [global] they are the default of all shares but IPC$, unless it is said here that they are
not.
""".lstrip()

TAIL = r"""
.SH SMB.CONF
A file of the name
.I smb.conf
is read by Samba's rules: the last of several values counts, comments are lines of their own, a backslash at a line's
end joins it with the next, blanks in a parameter's name do not matter, booleans may be on and off, and +group and
&group are groups too. Parameters of Samba that are not in this page are ignored, and named once in a warning.
.BR [homes] ,
.B [printers]
and printers are not shared.
.I map to guest = bad password
and
.I bad uid
are taken as never.
Modules in
.I vfs objects
other than those of this page are left out, each time with a warning; variables such as %U are not replaced.
.PP
These defaults are Samba's then:
.PP
%SAMBA%
.PP
And these names mean the same:
.PP
%SYNONYMS%
.SH EXAMPLE
.EX
[global]
    workgroup = OFFICE
    server signing = mandatory

[projects]
    path = /srv/projects
    read only = no
    valid users = @staff
    vfs objects = acl_xattr streams_xattr
.EE
.SH SEE ALSO
.BR ksmbd.mountd (8),
.BR ksmbd.addshare (8),
.BR ksmbd.control (8),
.BR ksmbdpwd.db (5)
""".lstrip()


def escape(text: str) -> str:
    """Plain text for roff; `name` in backquotes becomes bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    pieces = text.split("`")
    text = "".join(f"\\fB{piece}\\fR" if number % 2 else piece for number, piece in enumerate(pieces))
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def entry(parameter: Parameter) -> str:
    """The entry of one parameter as roff."""
    lines = [".TP", f"\\fB{escape(parameter.name)}\\fR ({parameter.scope.value})", escape(parameter.doc)]
    if parameter.kind in (Kind.CHOICE, Kind.NUMBER, Kind.SIZE) or (parameter.kind is Kind.LIST and parameter.choices):
        lines.append(f"Allowed is {escape(parameter.allowed())}.")
    if parameter.scope is Scope.SHARE and not parameter.inherits:
        lines.append("In [global] it is no default for shares.")
    if parameter.ours:
        lines.append("KSMBD does not have this parameter.")
    if parameter.pending:
        lines.append("It has no effect yet.")
    default = escape(parameter.default) if parameter.default else "(empty)"
    lines += [".br", f"Default: {default}"]
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    ordered = sorted(PARAMETERS, key=lambda parameter: (parameter.name, parameter.scope.value))
    samba = [f"{p.name} = {p.samba} ({p.scope.value})" for p in ordered if p.samba is not None]
    synonyms = [f"{', '.join(p.synonyms)}: {p.name} ({p.scope.value})" for p in ordered if p.synonyms]
    lines = [
        '.\\" SPDX-License-Identifier: GPL-2.0-or-later',
        '.\\" Written by scripts/manpages.py from mountd/parameters.py: change those.',
        '.TH KSMBD.CONF 5 "" ksmbd "File formats"',
        HEAD.rstrip(),
        *(entry(parameter) for parameter in ordered),
        TAIL.replace("%SAMBA%", listing(samba)).replace("%SYNONYMS%", listing(synonyms)).rstrip(),
    ]
    return "\n".join(lines) + "\n"


def listing(items: list[str]) -> str:
    """The items, one in a line."""
    return "\n.br\n".join(escape(item) for item in items)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(TARGET)
