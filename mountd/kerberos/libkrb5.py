# SPDX-License-Identifier: GPL-2.0-or-later
"""What python-gssapi lacks of MIT Kerberos' libkrb5, called through ctypes: keytabs, and the rules `auth_to_local`.

Only the process of Kerberos imports this. Nothing that a client sent is parsed here but a principal's name, which
libkrb5 itself has written.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Final

LIBRARY: Final = "libkrb5.so.3"
_ENTRY_SIZE: Final = 256
"""More than sizeof(krb5_keytab_entry); it is opaque here but for its first fields."""
_NAME_MAX: Final = 256
STRONG: Final = frozenset((17, 18, 19, 20, 25, 26))
"""The encryption types of keys that are used: AES (RFC 3962, RFC 8009) and Camellia (RFC 6803). RC4 and DES are not."""
_NO_TRANSLATION: Final = -1765328208
"""KRB5_LNAME_NOTRANS: no rule is for this principal."""


class Krb5Error(Exception):
    """A function of libkrb5 has failed. The message is the library's."""


class _Keyblock(ctypes.Structure):
    _fields_ = (
        ("magic", ctypes.c_int32), ("enctype", ctypes.c_int32), ("length", ctypes.c_uint),
        ("contents", ctypes.c_void_p),
    )  # fmt: skip


class _Entry(ctypes.Structure):
    """krb5_keytab_entry."""

    _fields_ = (
        ("magic", ctypes.c_int32), ("principal", ctypes.c_void_p), ("timestamp", ctypes.c_uint32),
        ("kvno", ctypes.c_uint32), ("key", _Keyblock), ("_room", ctypes.c_char * _ENTRY_SIZE),
    )  # fmt: skip


class Krb5:
    """A context of libkrb5. It reads krb5.conf once. Raises Krb5Error, and OSError where the library is missing."""

    def __init__(self) -> None:
        self._lib = ctypes.CDLL(LIBRARY)
        self._lib.krb5_get_error_message.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p()
        code = self._lib.krb5_init_context(ctypes.byref(self._context))
        if code:
            raise Krb5Error(f"krb5.conf cannot be read (error {code})")
        self._kept: list[ctypes.c_void_p] = []
        """Keytabs that stay open: one in memory is gone with its last handle."""

    def _check(self, code: int) -> None:
        if code:
            text = self._lib.krb5_get_error_message(self._context, ctypes.c_int32(code))
            message = ctypes.string_at(text).decode("utf-8", "replace")
            self._lib.krb5_free_error_message(self._context, ctypes.c_void_p(text))
            raise Krb5Error(message)

    def _name(self, principal: ctypes.c_void_p) -> str:
        text = ctypes.c_void_p()
        self._check(self._lib.krb5_unparse_name(self._context, principal, ctypes.byref(text)))
        name = ctypes.string_at(text).decode("utf-8", "replace") if text.value else ""
        self._lib.krb5_free_unparsed_name(self._context, text)
        return name

    def _resolve(self, name: str) -> ctypes.c_void_p:
        """A handle of a keytab; '' is the default one."""
        keytab = ctypes.c_void_p()
        if name:
            self._check(self._lib.krb5_kt_resolve(self._context, name.encode(), ctypes.byref(keytab)))
        else:
            self._check(self._lib.krb5_kt_default(self._context, ctypes.byref(keytab)))
        return keytab

    def _entries(self, keytab: ctypes.c_void_p) -> Iterator[_Entry]:
        cursor = ctypes.c_void_p()
        lib, context = self._lib, self._context
        self._check(lib.krb5_kt_start_seq_get(context, keytab, ctypes.byref(cursor)))
        try:
            entry = _Entry()
            while lib.krb5_kt_next_entry(context, keytab, ctypes.byref(entry), ctypes.byref(cursor)) == 0:
                yield entry
                lib.krb5_free_keytab_entry_contents(context, ctypes.byref(entry))
        finally:
            lib.krb5_kt_end_seq_get(context, keytab, ctypes.byref(cursor))

    def keytab_name(self, name: str) -> str:
        """The full name of a keytab, as `FILE:/etc/krb5.keytab`; '' is the default one."""
        keytab = self._resolve(name)
        buffer = ctypes.create_string_buffer(1024)
        self._check(self._lib.krb5_kt_get_name(self._context, keytab, buffer, len(buffer)))
        self._lib.krb5_kt_close(self._context, keytab)
        return buffer.value.decode("utf-8", "surrogateescape")

    def copy_keytab(self, source: str, target: str, wanted: Callable[[str], bool]) -> dict[str, int]:
        """Copy the strong keys of the principals that are `wanted` into the keytab `target`, which stays open. Returns
        principal -> number of keys."""
        found: dict[str, int] = {}
        keytab, copy = self._resolve(source), self._resolve(target)
        self._kept.append(copy)
        for entry in self._entries(keytab):
            principal = self._name(ctypes.c_void_p(entry.principal))
            if entry.key.enctype in STRONG and wanted(principal):
                self._check(self._lib.krb5_kt_add_entry(self._context, copy, ctypes.byref(entry)))
                found[principal] = found.get(principal, 0) + 1
        self._lib.krb5_kt_close(self._context, keytab)
        return found

    def default_realm(self) -> str:
        """The realm of krb5.conf; '' where it names none."""
        text = ctypes.c_void_p()
        if self._lib.krb5_get_default_realm(self._context, ctypes.byref(text)) or not text.value:
            return ""
        realm = ctypes.string_at(text).decode("utf-8", "replace")
        self._lib.krb5_free_default_realm(self._context, text)
        return realm

    def set_default_realm(self, realm: str) -> None:
        """The realm whose users are local ones where no rule says otherwise."""
        self._check(self._lib.krb5_set_default_realm(self._context, realm.encode()))

    def local_name(self, principal: str) -> str:
        """The local user that krb5.conf's rules (`auth_to_local`, `auth_to_local_names`) make of a principal; '' where
        they make none. Without rules a name of one component in the default realm is a local one, and no other is."""
        parsed = ctypes.c_void_p()
        self._check(self._lib.krb5_parse_name(self._context, principal.encode(), ctypes.byref(parsed)))
        buffer = ctypes.create_string_buffer(_NAME_MAX)
        code = self._lib.krb5_aname_to_localname(self._context, parsed, len(buffer), buffer)
        self._lib.krb5_free_principal(self._context, parsed)
        if code == _NO_TRANSLATION:
            return ""
        self._check(code)
        return buffer.value.decode("utf-8", "replace")
