# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of a share that decide on the names of files: a part of the table in mountd/parameters.py."""

from __future__ import annotations

from typing import Final

from mountd.parameter import WORDS, Kind, Parameter, Scope

S: Final = Scope.SHARE

NAME_PARAMETERS: Final[tuple[Parameter, ...]] = (
    Parameter("case sensitive", S, Kind.CHOICE, "auto",
              "yes: names in another case are other names, also in search patterns and `veto files`. no and auto: they "
              "are the same name, but for opens with POSIX semantics.",
              choices=("auto", "yes", "no"), aliases=WORDS, synonyms=("casesignames",), ours=True),
    Parameter("catia:mappings", S, Kind.STRING, "",
              "With `vfs objects = catia`, the characters that clients see instead of others: pairs of hexadecimal "
              "numbers on the disk and for clients, such as 0x22:0xa8,0x3a:0xf7. Characters that Windows cannot have "
              "and that no pair names are shown by the private use area.", ours=True),
    Parameter("default case", S, Kind.CHOICE, "lower", "The case of new names that are not kept as they are.",
              choices=("lower", "upper"), ours=True),
    Parameter("mangled names", S, Kind.CHOICE, "no",
              "Give files whose names are not of the form 8.3 short names, by which they can be opened, too. yes lists "
              "them beside all names that need one, illegal beside those that Windows cannot have (which clients see "
              "with characters of the private use area in any case). Short names are those of Samba. They, and "
              "the sizes of extended attributes, which are listed then, too, cost time in listings.",
              choices=("yes", "illegal", "no"), aliases=WORDS, ours=True, samba="illegal"),
    Parameter("preserve case", S, Kind.BOOLEAN, "yes", "Keep the case of new names; no gives them `default case`.",
              ours=True),
    Parameter("short preserve case", S, Kind.BOOLEAN, "yes",
              "Keep the case of new names of the form 8.3; no gives them `default case`.", ours=True),
)  # fmt: skip
"""Sorted by name."""
