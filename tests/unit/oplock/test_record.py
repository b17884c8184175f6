# SPDX-License-Identifier: GPL-2.0-or-later
"""What workers hand to each other survives its round trip."""
from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ksmbd.oplock.open_map import OpenMap
from ksmbd.oplock.record import Holder, Link, OpenEntry, Record, Waiter, holder_key

U32 = st.integers(0, 0xFFFFFFFF)
U64 = st.integers(0, (1 << 64) - 1)
GUID = st.binary(min_size=16, max_size=16)
TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
TIME = st.floats(0, 1e9)
FILE = st.tuples(U64, U64)

ENTRIES = st.builds(
    OpenEntry, U64, TEXT, U32, U32, GUID, U64, TEXT, TEXT, TEXT, st.booleans(), U32, U32, U32, st.none() | FILE,
    st.booleans(), st.just(b"") | GUID, st.integers(0, 3), st.booleans(), st.just(b"") | GUID, st.just(b"") | GUID,
    st.none() | st.tuples(U64, U64), U32, st.booleans(), TIME, st.binary(max_size=8), st.integers(0, 2),
    st.binary(max_size=8), st.booleans(), st.booleans(),
    dialect=st.integers(0, 0x311), protection=st.integers(0, 2),
)  # fmt: skip
HOLDERS = st.builds(
    Holder, TEXT, GUID, st.just(b"") | GUID, U64, st.integers(0, 7), st.booleans(), st.integers(0, 7),
    st.integers(0, 7), st.integers(0, 0xFFFF), st.integers(1, 2), U32, st.just(b"") | GUID, TIME,
)  # fmt: skip
WAITERS = st.builds(
    Waiter, U64, U32, U32, st.sampled_from(["open", "break", "lock"]), U64,
    st.tuples(U64, TEXT, st.none() | GUID, st.tuples(U32, st.booleans())),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=3), st.lists(HOLDERS, max_size=3), st.lists(WAITERS, max_size=2),
       st.frozensets(TEXT, max_size=2), st.frozensets(st.tuples(U64, U64, st.binary(max_size=8)), max_size=2), U64)
def test_records(
    opens: list[OpenEntry], holders: list[Holder], waiters: list[Waiter], deleted: frozenset[str],
    links: frozenset[Link], serial: int,
) -> None:  # fmt: skip
    record = Record()
    record.opens = OpenMap({entry.open_id: entry for entry in opens})
    record.holders = {holder_key(holder): holder for holder in holders}
    record.waiters, record.delete_pending, record.deleted_links, record.serial = waiters, deleted, links, serial
    record.outbox = [(1, 2, "Done", waiter.waiter_id, None) for waiter in waiters]
    back = Record.decode(record.encode())
    for name in getattr(Record, "__mypyc_attrs__", None) or Record.__slots__:  # compiled it has no __slots__
        assert getattr(back, name) == getattr(record, name), name
