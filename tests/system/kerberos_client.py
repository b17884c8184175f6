# SPDX-License-Identifier: GPL-2.0-or-later
"""smbprotocol with the ticket in $KRB5CCNAME, as a program of its own: what it reads of a file, on standard output.

    python kerberos_client.py HOST PORT SHARE FILE DIALECT negotiate|kerberos sign|encrypt

pyspnego's Kerberos is python-gssapi, which is Debian's where the virtual environment has none. The package krb5, which
it imports as well, is for log-ons by password alone: an empty module takes its place.
"""

from __future__ import annotations

import sys
import types
import uuid

sys.path.append("/usr/lib/python3/dist-packages")
sys.modules.setdefault("krb5", types.ModuleType("krb5"))

from smbprotocol.connection import Connection, Dialects  # noqa: E402
from smbprotocol.open import CreateDisposition, CreateOptions, FilePipePrinterAccessMask, ImpersonationLevel, Open  # noqa: E402
from smbprotocol.session import Session  # noqa: E402
from smbprotocol.tree import TreeConnect  # noqa: E402


def main(host: str, port: str, share: str, name: str, dialect: str, protocol: str, protection: str) -> None:
    """Log on and read."""
    connection = Connection(uuid.uuid4(), host, int(port), require_signing=True)
    connection.connect(getattr(Dialects, dialect), timeout=20)
    session = Session(connection, auth_protocol=protocol, require_encryption=protection == "encrypt")
    session.connect()
    tree = TreeConnect(session, rf"\\{host}\{share}")
    tree.connect()
    file = Open(tree, name)
    file.create(
        ImpersonationLevel.Impersonation, FilePipePrinterAccessMask.GENERIC_READ, 0, 1,
        CreateDisposition.FILE_OPEN, CreateOptions.FILE_NON_DIRECTORY_FILE,
    )  # fmt: skip
    sys.stdout.write(file.read(0, file.end_of_file).decode())
    connection.disconnect()


if __name__ == "__main__":
    main(*sys.argv[1:])
