# SPDX-License-Identifier: GPL-2.0-or-later
"""samr: users change their passwords (MS-SAMR 3.1.5.10). mountd checks the old one; this process sees neither."""

from __future__ import annotations

from ksmbd.smb.status import STATUS_INVALID_PARAMETER, NtStatusError, WireError
from mountd.rpc.names import PasswordChange
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.ndr_types import no_results, null_words, read_unicode_string, returning_status
from mountd.rpc.service import Caller

ENCRYPTED_SIZE, OWF_SIZE = 516, 16
"""SAMPR_ENCRYPTED_USER_PASSWORD and ENCRYPTED_NT_OWF_PASSWORD (MS-SAMR 2.2.6.21, 2.2.3.3)."""
AUTH_SIZE, SALT_SIZE, CIPHER_MAX = 64, 16, 1024
"""SAMPR_ENCRYPTED_PASSWORD_AES (MS-SAMR 2.2.6.32)."""
ITERATIONS_LEAST, ITERATIONS_MOST = 5000, 1_000_000
"""PBKDF2Iterations (MS-SAMR 3.1.5.10.4)."""


def _user(reader: NdrReader) -> str:
    if reader.pointer():
        read_unicode_string(reader)  # ServerName
    return read_unicode_string(reader)


def _change(caller: Caller, reader: NdrReader) -> int:
    user = _user(reader)
    new = reader.raw(ENCRYPTED_SIZE) if reader.pointer() else b""
    old = reader.raw(OWF_SIZE) if reader.pointer() else b""
    if not new or not old:  # MS-SAMR 3.1.5.10.3: those by the LM hash alone are not for this server
        raise NtStatusError(STATUS_INVALID_PARAMETER, "a change of password without the NT hash")
    return caller.names.change_password(PasswordChange(user, new, old))


@returning_status(no_results)
def unicode_change_password_2(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrUnicodeChangePasswordUser2, opnum 55 (MS-SAMR 3.1.5.10.3)."""
    return _change(caller, reader)


@returning_status(null_words(2))
def change_password_3(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrUnicodeChangePasswordUser3, opnum 63: as opnum 55, with the policy and the reason of a refusal as results,
    which are left out here."""
    status = _change(caller, reader)
    null_words(2)(writer)
    return status


@returning_status(no_results)
def unicode_change_password_4(caller: Caller, reader: NdrReader, writer: NdrWriter) -> int:
    """SamrUnicodeChangePasswordUser4, opnum 73 (MS-SAMR 3.1.5.10.4)."""
    user = _user(reader)
    reader.align(8)
    proof, salt = reader.raw(AUTH_SIZE), reader.raw(SALT_SIZE)
    size = reader.u32()
    there, iterations = reader.pointer(), reader.u64()
    if not there or size > CIPHER_MAX or reader.u32() != size:
        raise WireError(f"a Cipher of {size} bytes")
    if not ITERATIONS_LEAST <= iterations <= ITERATIONS_MOST or size == 0 or size % 16:
        raise NtStatusError(STATUS_INVALID_PARAMETER, f"{iterations} iterations, a Cipher of {size} bytes")
    return caller.names.change_password(PasswordChange(user, reader.raw(size), proof, salt, iterations))
