#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Generates man/ksmbd.conf.5 from the table of parameters: .venv/bin/python scripts/manpages.py

A test compares the file with the output of this script.
"""

from __future__ import annotations

from pathlib import Path

from mountd.parameters import PARAMETERS, Kind, Parameter, Scope

TARGET = Path(__file__).resolve().parent.parent / "man" / "ksmbd.conf.5"

HEAD = r"""
.SH NAME
ksmbd.conf \- the configuration of ksmbd
.SH DESCRIPTION
This file configures the server and its shares.
.B ksmbd.mountd
reads it at start and on reload
.RB ( "ksmbd.control \-r" ).
.B ksmbd.addshare
edits it. The default path is
.IR /etc/ksmbd/ksmbd.conf ;
option \-C names another.
.SH FORMAT
A section begins with its name in brackets and contains lines of the form
.IR "parameter = value" .
.B [global]
configures the server. Every other section is a share, and the section's name is the share's name: 1 to 63 bytes of
UTF-8. Names of sections and parameters are compared without regard to case. Sections with the same name are merged.
.PP
A semicolon or a hash begins a comment, which extends to the end of the line, also after a value.
If a parameter is given twice in a section, the first value that is not empty counts.
.PP
An unknown parameter is ignored with a warning. A value that is not allowed is an error:
.B ksmbd.mountd
does not start, or on reload keeps its previous configuration.
Both messages name the file and the line.
.PP
.I Booleans
are yes, true, 1, enable, and no, false, 0, disable.
The items of
.I lists
are separated by commas, tabs or spaces; an item that contains a space is put in double quotes.
In lists of users
.I @group
stands for all members of a Unix group.
.I Sizes
may have the suffixes K, M, G, T, P and E.
.I Masks
and modes are octal.
.SH PARAMETERS
Parameters marked
.B (G)
are valid in [global] only. Parameters marked
.B (S)
belong to a share; in [global] they set the default of all shares except IPC$, unless the description says otherwise.
""".lstrip()

TAIL = r"""
.SH SMB.CONF
A file called
.I smb.conf
is read by Samba's rules: of several values the last one counts; comments are whole lines; a backslash at the end of a
line joins it with the next; blanks in a parameter's name are ignored; booleans may also be on and off; +group and
&group also name groups. Samba's parameters that are not in this page are ignored, and listed in one warning.
.B [printers]
and printers are not shared.
.I map to guest = bad password
and
.I bad uid
count as never.
Modules in
.I vfs objects
that are not in this page are ignored with a warning. Protocols older than SMB 2 count as
SMB2_02. The NetBIOS name is that of the machine by default.
.PP
.I include = FILE
reads another file at this place; a relative path counts from the folder of smb.conf. Its variables are those of the
server. A file that is not there, or that depends on the client (%m), is left out with a warning.
.I copy = SHARE
takes over the parameters of a share above that this section does not set itself.
.PP
.B [homes]
is the template of home directories. A share of a user's name, and
.I homes
for the user who connects, is that user's home directory, or the template's
.IR path .
.I browseable
of [global] says whether it is listed. Set
.I valid users = %S
where others may not connect to it.
.PP
Variables are replaced in texts. Those of the server are %h (host name), %L and %N (NetBIOS name), %D (domain of the
users), %v (version), %w (\\) and %$(NAME) (environment). At each connection to a share these are replaced in its path,
comment, users, groups, lists of users, veto files, hide files, shadow:basedir, shadow:mountpoint and shadow:snapdir:
%U (user), %G (its primary group), %u (user of the service, by force user), %g, %H (its primary group and home
directory), %S (share), %P (its path), %m (name of the client, else its address), %I and %M (address), %i (the server's
address), %J and %j (both addresses with underscores), %R (dialect), %a (UNKNOWN), %d (process), %T and %t (time).
A user's or client's name that is no name of a folder, or would be a group, refuses the connection.
.PP
These parameters have Samba's defaults in such a file:
.PP
%SAMBA%
.PP
These synonyms are accepted:
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
    """Escape plain text for roff; `name` in backquotes becomes bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    pieces = text.split("`")
    text = "".join(f"\\fB{piece}\\fR" if number % 2 else piece for number, piece in enumerate(pieces))
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def entry(parameter: Parameter) -> str:
    """The entry of one parameter as roff."""
    lines = [".TP", f"\\fB{escape(parameter.name)}\\fR ({parameter.scope.value})", escape(parameter.doc)]
    if parameter.kind in (Kind.CHOICE, Kind.NUMBER, Kind.SIZE) or (parameter.kind is Kind.LIST and parameter.choices):
        lines.append(f"Allowed: {escape(parameter.allowed())}.")
    if parameter.scope is Scope.SHARE and not parameter.inherits:
        lines.append("A value in [global] is not a default for shares.")
    if parameter.ours:
        lines.append("ksmbd-tools do not have this parameter.")
    if parameter.pending:
        lines.append("Our engine has no use for it; the kernel's server has.")
    default = escape(parameter.default) if parameter.default else "(empty)"
    lines += [".br", f"Default: {default}"]
    return "\n".join(lines)


def page() -> str:
    """The roff text of the whole page."""
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
