# SPDX-License-Identifier: GPL-2.0-or-later
"""Maps characters of names between the disk and clients (`vfs objects = catia`, `catia:mappings` of vfs_catia(8)).

Inside the server a character that Windows forbids is one of the private use area (posix_names.py); so names of clients
are mapped to those before anything else looks at them, and back where an answer tells a name. Opens with POSIX
semantics see names as they are on the disk.
"""
from __future__ import annotations

from functools import lru_cache

from ksmbd.smb.catia import pairs_of
from ksmbd.smb.model import Open, TreeConnect
from ksmbd.smb.posix_names import TO_PRIVATE


class CharacterMap:
    """The mapping of one value of `catia:mappings`."""

    __slots__ = ("_of_client", "_of_server")

    def __init__(self, text: str) -> None:
        inside = [(TO_PRIVATE.get(disk, disk), client) for disk, client in pairs_of(text)]
        self._of_client = {client: chr(number) for number, client in reversed(inside)}
        self._of_server = {number: chr(client) for number, client in reversed(inside)}

    def to_server(self, name: str) -> str:
        """A client's name, path or pattern as the server has it."""
        return name.translate(self._of_client)

    def to_client(self, name: str) -> str:
        """A name or path of the server as clients see it."""
        return name.translate(self._of_server)


@lru_cache(maxsize=64)
def character_map(text: str) -> CharacterMap:
    """The CharacterMap of a value of `catia:mappings`."""
    return CharacterMap(text)


def asked_on(tree: TreeConnect, name: str, is_posix: bool) -> str:
    """A path that a client sent with a CREATE, as the server has it."""
    mappings = tree.share.catia_mappings
    return character_map(mappings).to_server(name) if mappings and not is_posix else name


def map_of(open_: Open) -> CharacterMap | None:
    """The mapping for the requests of an open; None where there is none."""
    tree = open_.tree
    if tree is None or not tree.share.catia_mappings or open_.is_posix:
        return None
    return character_map(tree.share.catia_mappings)


def shown(open_: Open, name: str) -> str:
    """A name of the server as the client of an open sees it."""
    characters = map_of(open_)
    return name if characters is None else characters.to_client(name)


def asked(open_: Open, name: str) -> str:
    """A name, path or pattern that the client of an open sent, as the server has it."""
    characters = map_of(open_)
    return name if characters is None else characters.to_server(name)
