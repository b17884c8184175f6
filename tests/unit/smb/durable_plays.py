# SPDX-License-Identifier: GPL-2.0-or-later
"""A client's durable open in a script: made, kept, reclaimed."""
from __future__ import annotations

from struct import pack
from typing import Any

from playbook import Playbook, call, some, unknown
from stage import Asked, Line, Stage
from stage_messages import Context, FileId
from test_scripted_create import DURABLE_V1, DURABLE_V2, GUID, KEY, LEASE_V1, LEASE_V2, PERSISTENT

from ksmbd.smb import constants as c
from ksmbd.smb import create_contexts as ctx
from ksmbd.smb.model import Open
from ksmbd.smb.ports import (
    CloseOutcome,
    DurableReconnect,
    DurableRequest,
    LeaseGrant,
    LeaseRequest,
    OpenGrant,
    OpenRequest,
    Reconnected,
    ShareConfig,
)

RWH, RH = 7, 3
OTHER_KEY, OTHER_GUID = b"other lease key ", b"other createguid"
EMPTY = b"\x04\0\0\0"


class Durable:
    """A client's durable open of a version, with a batch oplock or a lease; and another connection of the client."""

    def __init__(
        self, version: int = 2, lease: bool = False, persistent: bool = False, seals: bool = False,
        stage: Stage | None = None, line: Line | None = None, writable: bool = True,
    ) -> None:  # fmt: skip
        share = ShareConfig("share", "/srv", continuous_availability=persistent, encrypt=seals)
        stage = self.stage = stage or Stage(share=share, writable=writable)
        self.table = stage.table
        self.alice = line or stage.line().begin()
        self.back = stage.line("back")
        self.alice.seals = self.back.seals = seals
        self.version, self.persistent = version, persistent
        self.file, self.file_id = stage.file("file"), FileId.unknown()
        self.ref = self.file_id.ref(self.file)
        self.again = self.file_id.again()
        self.kept = unknown(Open, "kept")
        level = c.OPLOCK_LEVEL_LEASE if lease else c.OPLOCK_LEVEL_BATCH
        self.lease = LeaseGrant(KEY, RWH, version, 0, b"", 4 * (version == 2)) if lease else None
        self.grant = OpenGrant(level, self.lease, True, persistent, 60_000)
        self.lease_context = ((LEASE_V1, LEASE_V2)[version - 1],) * lease
        self.asks = (DURABLE_V1,) if version == 1 else (PERSISTENT,) if persistent else (DURABLE_V2,)
        self.play = stage.opens(self.alice, self.file, self.file_id, self.grant, *self.lease_context, *self.asks)

    def request(self) -> OpenRequest:
        """What the table keeps of it."""
        return OpenRequest(
            self.ref, self.alice.guid, session_id=1, owner="alice", share="share", path="file", is_directory=False,
            created=False, granted_access=c.FILE_ALL_ACCESS, share_access=7, disposition=c.FILE_OPEN, options=0,
            oplock_level=self.grant.oplock_level, durable=DurableRequest(self.version, GUID, 60_000, self.persistent),
        )  # fmt: skip

    def leaves(self, play: Playbook, kept: bool = True, again: bool = False) -> Playbook:
        """The session has ended: the open is kept, its tree connect is not."""
        handle = unknown(Open) if again else self.kept
        play = play << call(self.table.keep, self.ref, handle) << call(self.table.disconnect, self.ref).gives(kept)
        if not kept:
            play = play << call(self.table.close, self.ref).gives(CloseOutcome(False)) << call(self.file.close)
        return self.stage.ends(play)

    def lost(self, line: Line | None = None) -> Playbook:
        """The connection is lost, and another one comes."""
        return self.leaves(self.play >> self.alice.drops()) >> (line or self.back).comes()

    def comes_back(self, line: Line, *more: Context, **fields: Any) -> Asked:
        """The CREATE that reclaims it."""
        wanted: Context
        if self.version == 1:
            wanted = (ctx.DHNC, (fields.pop("file_id", self.file_id),))
        else:
            flags = pack("<I", 2 * self.persistent)
            wanted = (ctx.DH2C, (fields.pop("file_id", self.file_id), fields.pop("guid", GUID), flags))
        lease = fields.pop("lease", self.lease_context)
        return line.create("file", oplock=self.grant.oplock_level, contexts=(wanted, *lease, *more), **fields)

    def asked(self, **fields: object) -> DurableReconnect:
        """What the table is asked then."""
        lease = None
        if self.lease is not None:
            lease = LeaseRequest(KEY, RWH, self.version, 0, b"", 3 * (self.version == 2))
        right: dict[str, object] = {
            "persistent_id": self.file_id.persistent, "version": self.version, "client_guid": self.alice.guid,
            "create_guid": GUID if self.version == 2 else b"", "owner": "alice", "lease": lease, "path": "file",
            "persistent": self.persistent, "share": "share", "read_only": False, "dialect": c.DIALECT_311,
        }  # fmt: skip
        return some(DurableReconnect, **{**right, **fields})

    def reclaimed(self, play: Playbook, line: Line, grant: OpenGrant | None = None, **asked: object) -> Playbook:
        """Looked up, reclaimed, answered: in this order, and nothing else."""
        grant = grant or self.grant
        return (
            play
            << call(self.table.find_kept, self.asked(**asked)).gives(None)
            << call(self.table.reconnect, self.asked(**asked)).gives(Reconnected(self.request(), grant, self.kept))
            << call(self.file.info).gives(self.file.facts())
            << line.created(self.again, level=grant.oplock_level, lease=grant.lease)
        )

    def closes(self, play: Playbook, line: Line) -> Playbook:
        """It works, under its new FileId."""
        return (
            play
            >> line.close(self.again)
            << call(self.table.close, self.ref).gives(CloseOutcome(False))
            << call(self.file.close)
            << line.answer()
        )


VERSIONS = (
    ("v1", 1, False, False),
    ("v1_lease", 1, True, False),
    ("v2", 2, False, False),
    ("v2_lease", 2, True, False),
    ("persistent", 2, False, True),
    ("persistent_lease", 2, True, True),
)
