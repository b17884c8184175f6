# SPDX-License-Identifier: GPL-2.0-or-later
"""KSMBD's structures byte for byte, and what malformed messages come to."""
from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ksmbd.ipc.codec import Message, decode, encode
from ksmbd.ipc.constants import PIPES, RPC_METHODS, Attribute, Event, RpcFlag
from ksmbd.ipc.messages import MESSAGE_TYPE, NLA_PAYLOAD_MAX, STRUCTURES, text_of
from ksmbd.smb.status import WireError

SIZES = {
    Event.HEARTBEAT_REQUEST: 4,
    Event.STARTING_UP: 744,
    Event.SHUTTING_DOWN: 64,
    Event.LOGIN_REQUEST: 116,
    Event.LOGIN_RESPONSE: 148,
    Event.SHARE_CONFIG_REQUEST: 132,
    Event.SHARE_CONFIG_RESPONSE: 536,
    Event.TREE_CONNECT_REQUEST: 264,
    Event.TREE_CONNECT_RESPONSE: 72,
    Event.TREE_DISCONNECT_REQUEST: 80,
    Event.LOGOUT_REQUEST: 116,
    Event.RPC_REQUEST: 12,
    Event.RPC_RESPONSE: 12,
    Event.SPNEGO_AUTHEN_REQUEST: 6,
    Event.SPNEGO_AUTHEN_RESPONSE: 156,
    Event.LOGIN_REQUEST_EXT: 116,
    Event.LOGIN_RESPONSE_EXT: 136,
}

OFFSETS = [
    (Event.STARTING_UP, {
        "flags": 0, "signing": 4, "min_prot": 8, "max_prot": 24, "netbios_name": 40, "work_group": 56,
        "server_string": 120, "tcp_port": 184, "ipc_timeout": 186, "deadtime": 188, "file_max": 192,
        "smb2_max_write": 196, "smb2_max_read": 200, "smb2_max_trans": 204, "share_fake_fscaps": 208, "sub_auth": 212,
        "smb2_max_credits": 224, "smbd_max_io_size": 228, "max_connections": 232, "bind_interfaces_only": 236,
        "max_ip_connections": 237, "reserved": 241, "ifc_list_sz": 740, "payload": 744,
    }),
    (Event.LOGIN_REQUEST, {"handle": 0, "account": 4, "reserved": 52}),
    (Event.LOGIN_RESPONSE, {
        "handle": 0, "gid": 4, "uid": 8, "account": 12, "status": 60, "hash_sz": 62, "hash": 64, "reserved": 84,
    }),
    (Event.SHARE_CONFIG_REQUEST, {"handle": 0, "share_name": 4, "reserved": 68}),
    (Event.SHARE_CONFIG_RESPONSE, {
        "handle": 0, "flags": 4, "create_mask": 8, "directory_mask": 10, "force_create_mode": 12,
        "force_directory_mode": 14, "force_uid": 16, "force_gid": 18, "share_name": 20, "reserved": 84,
        "payload_sz": 528, "veto_list_sz": 532, "payload": 536,
    }),
    (Event.TREE_CONNECT_REQUEST, {
        "handle": 0, "account_flags": 4, "flags": 6, "session_id": 8, "connect_id": 16, "account": 24, "share": 72,
        "peer_addr": 136, "reserved": 200,
    }),
    (Event.TREE_CONNECT_RESPONSE, {"handle": 0, "status": 4, "connection_flags": 6, "reserved": 8}),
    (Event.TREE_DISCONNECT_REQUEST, {"session_id": 0, "connect_id": 8, "reserved": 16}),
    (Event.LOGOUT_REQUEST, {"account": 0, "account_flags": 48, "reserved": 52}),
    (Event.RPC_REQUEST, {"handle": 0, "flags": 4, "payload_sz": 8, "payload": 12}),
    (Event.SPNEGO_AUTHEN_REQUEST, {"handle": 0, "blob_len": 4, "payload": 6}),
    (Event.SPNEGO_AUTHEN_RESPONSE, {
        "handle": 0, "login_handle": 4, "gid": 8, "uid": 12, "account": 16, "status": 64, "hash_sz": 66, "hash": 68,
        "session_key_len": 152, "spnego_blob_len": 154, "payload": 156,
    }),
    (Event.LOGIN_RESPONSE_EXT, {"handle": 0, "ngroups": 4, "reserved": 8, "payload": 136}),
]  # fmt: skip


def test_ids() -> None:
    assert [event.value for event in Event if event < 64] == list(range(1, 18))
    assert all(event >= 64 for event in Event if event not in STRUCTURES)


@pytest.mark.parametrize("event", SIZES, ids=lambda event: event.name)
def test_size(event: Event) -> None:
    assert STRUCTURES[event].fixed_size() == SIZES[event]
    data = encode(Message(event))
    length, kind = struct.unpack_from("=HH", data, 20)
    assert (length, kind) == (4 + SIZES[event], event)
    assert len(data) == 24 + -(-SIZES[event] // 4) * 4


@pytest.mark.parametrize("event, offsets", OFFSETS, ids=lambda item: getattr(item, "name", ""))
def test_offsets(event: Event, offsets: dict[str, int]) -> None:
    structure = STRUCTURES[event]
    assert {name: structure.offset_of(name) for name in offsets} == offsets


def test_every_message_is_in_the_tables() -> None:
    assert set(SIZES) == set(STRUCTURES)


def test_login_request_bytes() -> None:
    """A message as a whole, as the layout says, written down by hand."""
    data = encode(Message(Event.LOGIN_REQUEST, fields={"handle": 0x01020304, "account": "jürgen"}), sequence=9, port=77)
    header = struct.pack("=IHHII", 140, MESSAGE_TYPE, 0, 9, 77)
    genl = bytes((4, 1, 0, 0))
    body = struct.pack("=I", 0x01020304) + "jürgen".encode().ljust(48, b"\0") + bytes(64)
    assert data == header + genl + struct.pack("=HH", 120, 4) + body


def test_starting_up_is_unaligned_where_ksmbd_is() -> None:
    fields = {"bind_interfaces_only": 1, "max_ip_connections": 0x11223344, "ifc_list_sz": 5, "payload": b"eth0\0"}
    body = encode(Message(Event.STARTING_UP, fields=fields))[24:]
    assert body[236:241] == b"\1" + struct.pack("=I", 0x11223344)
    assert body[740:749] == struct.pack("=I", 5) + b"eth0\0"


def test_extra_attributes_ride_along() -> None:
    message = Message(
        Event.SHARE_CONFIG_RESPONSE,
        fields={"handle": 5, "flags": 3, "share_name": "Öl", "payload": b"/p", "payload_sz": 2},
        numbers={Attribute.FORCE_UID: 100000, Attribute.ENCRYPT: 1},
        texts={Attribute.COMMENT: "ä comment"},
        options={"change notify": "no", "hide files": "/a/b*/", "empty": ""},
    )
    got = decode(encode(message))
    assert (got.event, got.handle) == (Event.SHARE_CONFIG_RESPONSE, 5)
    assert (got.text("share_name"), got.fields["payload"]) == ("Öl", b"/p")
    assert (got.numbers, got.texts, got.options) == (message.numbers, message.texts, message.options)


def test_parts_and_addresses() -> None:
    texts = {Attribute.BODY: "é" * 16000}
    message = Message(Event.ANSWER, numbers={Attribute.HANDLE: 3}, texts=texts, addresses=["::1:445", "x"])
    got = decode(encode(message))
    assert (got.handle, got.texts, got.addresses) == (3, message.texts, message.addresses)


@pytest.mark.parametrize("fields", [
    {"account": "x" * 48},
    {"account": "a\0b"},
    {"handle": 1 << 32},
    {"no such field": 1},
])  # fmt: skip
def test_what_does_not_fit_is_never_cut(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        encode(Message(Event.LOGIN_REQUEST, fields=fields))


def test_longest_payload() -> None:
    room = NLA_PAYLOAD_MAX - 12
    whole = {"payload": bytes(room), "payload_sz": room}
    assert len(decode(encode(Message(Event.RPC_REQUEST, fields=whole))).fields["payload"]) == room
    with pytest.raises(ValueError):
        encode(Message(Event.RPC_REQUEST, fields={"payload": bytes(room + 1)}))


def _message(
    attributes: bytes, command: int = Event.LOGIN_REQUEST, length: int | None = None, version: int = 1
) -> bytes:
    size = 20 + len(attributes) if length is None else length
    return struct.pack("=IHHIIBBH", size, MESSAGE_TYPE, 0, 0, 0, command, version, 0) + attributes


LOGIN = struct.pack("=HH", 120, 4) + bytes(116)


@pytest.mark.parametrize("data", [
    b"",
    b"\x14",
    _message(LOGIN)[:-1],
    _message(LOGIN, length=10),
    _message(LOGIN, version=2),
    _message(LOGIN, command=200),
    _message(LOGIN).replace(struct.pack("=H", MESSAGE_TYPE), b"\x03\0", 1),
    _message(b""),
    _message(struct.pack("=HH", 119, 4) + bytes(116)),
    _message(struct.pack("=HH", 124, 4) + bytes(120)),
    _message(struct.pack("=HH", 3, 4)),
    _message(struct.pack("=HH", 60000, 4) + bytes(116)),
    _message(LOGIN + struct.pack("=HH", 8, 5) + bytes(4)),
    _message(LOGIN + struct.pack("=HH", 6, Attribute.HANDLE) + bytes(4)),
    _message(LOGIN + struct.pack("=HHHH", 8, Attribute.OPTION, 9, 1)),
    _message(LOGIN + b"\1"),
])  # fmt: skip
def test_malformed(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    for candidate in (data, _message(data), _message(LOGIN + data), _message(data, command=Event.SETTINGS)):
        try:
            decode(candidate)
        except WireError:
            pass


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_options_survive(options: dict[str, str]) -> None:
    assert decode(encode(Message(Event.SETTINGS, options=options))).options == options


def test_rpc_methods_are_told_apart() -> None:
    for method in RPC_METHODS:
        for service in PIPES.values():
            flags = method | service | RpcFlag.RESTRICTED_CONTEXT
            assert [m for m in RPC_METHODS if flags & m == m] == [method]
            assert [s for s in PIPES.values() if flags & s] == [service]


def test_text_of_stops_at_nul() -> None:
    assert text_of(b"abc\0def") == "abc"


def _values(event: Event) -> st.SearchStrategy[dict[str, object]]:
    """Any values that the structure's fields can have."""
    values: dict[str, st.SearchStrategy[object]] = {}
    for name, fmt in STRUCTURES[event].fields:
        if name == "payload":
            values[name] = st.binary(max_size=100)
        elif fmt.endswith("s"):
            size = int(fmt[:-1])
            values[name] = st.binary(min_size=size, max_size=size)
        elif not fmt.endswith("x"):
            bits = 8 * struct.calcsize("=" + fmt)
            low = -(1 << (bits - 1)) if fmt.islower() else 0
            values[name] = st.integers(low, (1 << (bits - 1)) - 1 if fmt.islower() else (1 << bits) - 1)
    return st.fixed_dictionaries(values)


SCALARS = {event: [name for name, fmt in STRUCTURES[event].fields if len(fmt.strip("0123456789x")) == 1
                   and (fmt.endswith("s") or fmt.isalpha())] for event in STRUCTURES}  # fmt: skip


@given(st.data(), st.sampled_from(sorted(STRUCTURES)))
def test_every_structure_survives(data: st.DataObject, event: Event) -> None:
    """decode(encode(x)) is x, for any values of any fields that are single values."""
    fields = {name: value for name, value in data.draw(_values(event)).items() if name in (*SCALARS[event], "payload")}
    back = decode(encode(Message(event, fields=fields))).fields
    assert {name: back[name] for name in fields} == fields


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=3), st.lists(TEXTS, max_size=3))
def test_options_and_addresses_survive(options: dict[str, str], addresses: list[str]) -> None:
    back = decode(encode(Message(Event.SETTINGS, options=options, addresses=addresses)))
    assert (back.options, back.addresses) == (options, addresses)
