# SPDX-License-Identifier: GPL-2.0-or-later
"""The client library smbprotocol: every command, dialect, cipher and signing algorithm; and what must be refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import Any

import pytest
from server import KsmbdServer, StartKsmbd
from smbprotocol import exceptions as smb
from smbprotocol.change_notify import ChangeNotifyFlags, CompletionFilter, FileSystemWatcher
from smbprotocol.connection import Ciphers, SigningAlgorithms
from smbprotocol.file_info import (
    FileAllInformation,
    FileBasicInformation,
    FileDispositionInformation,
    FileEndOfFileInformation,
    FileInformationClass,
    FileRenameInformation,
    FileStandardInformation,
    FileStreamInformation,
    InfoType,
)
from smbprotocol.header import Smb2Flags
from smbprotocol.ioctl import CtlCode, IOCTLFlags, SMB2IOCTLRequest, SMB2IOCTLResponse
from smbprotocol.open import (
    LockFlags,
    SMB2LockElement,
    SMB2QueryInfoRequest,
    SMB2QueryInfoResponse,
    SMB2SetInfoRequest,
)
from smbprotocol_client import (
    ALL,
    DELETE,
    DELETE_ON_CLOSE,
    DIALECTS,
    DIRECTORY,
    NOT_DIRECTORY,
    READ,
    WRITE,
    Client,
    CreateDisposition,
)


@pytest.fixture(scope="module")
def server(start_shaped: StartKsmbd) -> KsmbdServer:
    return start_shaped(
        options={"server min protocol": "SMB2_02"},
        shares={
            "share": {"vfs objects": "streams_xattr"},
            "sealed": {"smb3 encryption": "mandatory"},
            "readonly": {"read only": "yes"},
        },
    )


@pytest.fixture(scope="module")
def sealing(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(options={"smb3 encryption": "mandatory"})


@pytest.fixture(scope="module")
def signing(start_shared: StartKsmbd) -> KsmbdServer:
    return start_shared(options={"server signing": "mandatory", "server min protocol": "SMB2_02"})


def query(client: Client, file: Any, kind: type, info_class: int) -> Any:
    """QUERY_INFO of a file class, decoded."""
    request = SMB2QueryInfoRequest()
    request["info_type"] = InfoType.SMB2_0_INFO_FILE
    request["file_info_class"] = info_class
    request["output_buffer_length"] = 4096
    request["file_id"] = file.file_id
    answer = SMB2QueryInfoResponse()
    answer.unpack(client.wait(client.send(request))["data"].get_value())
    return answer.parse_buffer(kind)


def set_info(client: Client, file: Any, structure: Any) -> None:
    """SET_INFO of a file class."""
    request = SMB2SetInfoRequest()
    request["info_type"] = InfoType.SMB2_0_INFO_FILE
    request["file_info_class"] = structure.INFO_CLASS
    request["file_id"] = file.file_id
    request["buffer"] = structure
    client.wait(client.send(request))


def work(client: Client, folder: Any, name: str) -> None:
    """Create, write, read, list, query, set, rename, delete; on disk as in the answers."""
    data = os.urandom(200_003)
    file = client.open(name, ALL, CreateDisposition.FILE_CREATE)
    for start in range(0, len(data), 60_000):
        assert file.write(data[start : start + 60_000], start) == len(data[start : start + 60_000])
    file.flush()
    assert b"".join(file.read(start, 60_000) for start in range(0, len(data), 60_000)) == data
    assert (folder / name).read_bytes() == data
    with pytest.raises(smb.EndOfFile):
        file.read(len(data), 10)
    everything = query(client, file, FileAllInformation, FileInformationClass.FILE_ALL_INFORMATION)
    assert everything["standard_information"]["end_of_file"].get_value() == len(data)
    end = FileEndOfFileInformation()
    end["end_of_file"] = 1000
    set_info(client, file, end)
    assert (folder / name).stat().st_size == 1000
    basic = FileBasicInformation()
    basic["last_write_time"] = 126_000_000_000_000_000
    basic["file_attributes"] = 0x2
    set_info(client, file, basic)
    assert int((folder / name).stat().st_mtime) == (126_000_000_000_000_000 - 116_444_736_000_000_000) // 10_000_000
    rename = FileRenameInformation()
    rename["replace_if_exists"] = False
    rename["file_name"] = f"{name} renamed"
    set_info(client, file, rename)
    assert not (folder / name).exists() and (folder / f"{name} renamed").stat().st_size == 1000
    top = client.open("", READ, CreateDisposition.FILE_OPEN, DIRECTORY)
    entries = top.query_directory("*", FileInformationClass.FILE_ID_BOTH_DIRECTORY_INFORMATION)
    found = {entry["file_name"].get_value().decode("utf-16-le"): entry for entry in entries}
    assert found[f"{name} renamed"]["end_of_file"].get_value() == 1000
    assert found[f"{name} renamed"]["file_attributes"].get_value() == 0x2
    with pytest.raises(smb.NoMoreFiles):
        top.query_directory("*", FileInformationClass.FILE_ID_BOTH_DIRECTORY_INFORMATION)
    top.close()
    disposition = FileDispositionInformation()
    disposition["delete_pending"] = True
    set_info(client, file, disposition)
    with pytest.raises(smb.DeletePending):
        client.open(f"{name} renamed")
    assert (folder / f"{name} renamed").exists()
    file.close()
    assert not (folder / f"{name} renamed").exists()


@pytest.mark.parametrize(
    ("dialect", "encrypt"),
    [*((dialect, False) for dialect in DIALECTS), ("3.0", True), ("3.0.2", True), ("3.1.1", True)],
)
def test_a_file_s_life(server: KsmbdServer, dialect: str, encrypt: bool) -> None:
    with Client(server, dialect, encrypt=encrypt) as client:
        assert client.connection.dialect == DIALECTS[dialect]
        work(client, server.share_path, f"life {dialect} {encrypt}")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_protection(server: KsmbdServer, dialect: str) -> None:
    """3.1.1 signs the tree connect in any case (MS-SMB2 3.2.4.1.1)."""
    with Client(server, dialect, sign=False, tree=False) as client:
        client.session.signing_required = dialect == "3.1.1"
        client.tree = client.connect_tree()
        client.session.signing_required = False
        work(client, server.share_path, f"clear {dialect}")


@pytest.mark.parametrize(
    "cipher", [Ciphers.AES_128_CCM, Ciphers.AES_128_GCM, Ciphers.AES_256_CCM, Ciphers.AES_256_GCM]
)
def test_ciphers(server: KsmbdServer, cipher: int) -> None:
    with Client(server, encrypt=True, ciphers=[cipher]) as client:
        assert client.connection.cipher_id == cipher
        work(client, server.share_path, f"cipher {cipher}")


@pytest.mark.parametrize(
    "algorithm", [SigningAlgorithms.HMAC_SHA256, SigningAlgorithms.AES_CMAC, SigningAlgorithms.AES_GMAC]
)
def test_signing_algorithms(server: KsmbdServer, algorithm: int) -> None:
    with Client(server, signings=[algorithm]) as client:
        assert client.connection.signing_algorithm_id == algorithm
        work(client, server.share_path, f"signing {algorithm}")


def test_replies_to_signed_requests_are_signed(server: KsmbdServer) -> None:
    with Client(server) as client:
        file = client.open("signed", disposition=CreateDisposition.FILE_OVERWRITE_IF)
        response = client.wait(client.send(file.write(b"x", send=False)[0]))
        assert response["flags"].has_flag(Smb2Flags.SMB2_FLAGS_SIGNED)
        client.connection.verify_signature(response, client.session.session_id, force=True)
        file.close()


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_wrong_password(server: KsmbdServer) -> None:
    with pytest.raises(smb.LogonFailure):
        Client(server, password="wrong")
    with pytest.raises(smb.LogonFailure):
        Client(server, user="nobody at all")
    with pytest.raises(smb.BadNetworkName):
        Client(server, share="nothing")
    with Client(server) as client:
        client.connection.echo()


@pytest.mark.parametrize("dialect", ["3.0", "3.0.2", "3.1.1"])
def test_a_clear_request_in_an_encrypted_session(sealing: KsmbdServer, dialect: str) -> None:
    """MS-SMB2 3.3.5.2.9: with Session.EncryptData a clear request is refused."""
    with Client(sealing, dialect) as client:
        assert client.session.encrypt_data
        client.session.encrypt_data = False
        client.session.signing_required = True
        with pytest.raises(smb.AccessDenied):
            client.open("clear")
        client.session.encrypt_data = True
        client.open("sealed").close()
    assert [path.name for path in sealing.share_path.iterdir()] == ["sealed"]
    (sealing.share_path / "sealed").unlink()


def test_clients_that_cannot_encrypt(sealing: KsmbdServer, server: KsmbdServer) -> None:
    with pytest.raises(smb.AccessDenied):
        Client(sealing, "2.1")
    with pytest.raises(smb.AccessDenied):
        Client(server, "2.1", share="sealed")


@pytest.mark.parametrize("dialect", ["3.0", "3.0.2", "3.1.1"])
def test_a_clear_request_in_an_encrypted_share(server: KsmbdServer, dialect: str) -> None:
    """MS-SMB2 3.3.5.2.11: with TreeConnect.Share.EncryptData a clear request is refused."""
    with Client(server, dialect, share="sealed") as client:
        assert client.tree.encrypt_data and not client.session.encrypt_data
        client.tree.encrypt_data = False
        with pytest.raises(smb.AccessDenied):
            client.open("clear")
        client.tree.encrypt_data = True
        client.open("sealed", options=NOT_DIRECTORY | DELETE_ON_CLOSE, access=ALL).close()
    assert list(server.shares["sealed"].iterdir()) == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_unsigned_request_where_signing_is_mandatory(signing: KsmbdServer, dialect: str) -> None:
    with Client(signing, dialect) as client:
        client.session.signing_required = False
        with pytest.raises(smb.AccessDenied):
            client.open("unsigned")
        client.session.signing_required = True
        client.open("signed").close()
    assert "unsigned" not in os.listdir(signing.share_path)


def test_a_wrong_signature(server: KsmbdServer) -> None:
    with Client(server) as client:
        transport = client.connection.transport
        send = transport.send
        transport.send = lambda data: send(data[:48] + bytes([data[48] ^ 1]) + data[49:])
        with pytest.raises(smb.AccessDenied):
            client.open("forged")
        transport.send = send
        client.open("honest", ALL, options=DELETE_ON_CLOSE).close()
    assert "forged" not in os.listdir(server.share_path)


def test_an_unsigned_tree_connect_under_3_1_1(server: KsmbdServer) -> None:
    """MS-SMB2 3.3.5.7: neither signed nor encrypted ends the connection."""
    with Client(server, sign=False, tree=False) as client:
        with pytest.raises(smb.SMBConnectionClosed):
            client.connect_tree()


# ----------------------------------------------------------------------------------------------------- secure negotiate


def validate(client: Client, dialects: list[int], capabilities: int, mode: int = 2) -> bytes:
    """FSCTL_VALIDATE_NEGOTIATE_INFO with what the client says it had sent (MS-SMB2 2.2.31.4)."""
    request = SMB2IOCTLRequest()
    request["ctl_code"] = CtlCode.FSCTL_VALIDATE_NEGOTIATE_INFO
    request["file_id"] = b"\xff" * 16
    request["max_output_response"] = 24
    request["flags"] = IOCTLFlags.SMB2_0_IOCTL_IS_FSCTL
    listed = struct.pack(f"<{len(dialects)}H", *dialects)
    guid = client.connection.client_guid.bytes  # as smbprotocol sends it
    request["buffer"] = struct.pack("<I16sHH", capabilities, guid, mode, len(dialects)) + listed
    answer = SMB2IOCTLResponse()
    answer.unpack(client.wait(client.send(request))["data"].get_value())
    return bytes(answer["buffer"].get_value())


@pytest.mark.parametrize("dialect", ["2.1", "3.0", "3.0.2"])
def test_the_negotiation_is_confirmed(server: KsmbdServer, dialect: str) -> None:
    with Client(server, dialect) as client:
        connection = client.connection
        output = validate(
            client, [DIALECTS[dialect]], connection.client_capabilities, connection.client_security_mode
        )
        capabilities, guid, mode, agreed = struct.unpack("<I16sHH", output)
        assert agreed == DIALECTS[dialect]
        assert guid == connection.server_guid.bytes
        assert mode == connection.server_security_mode
        assert capabilities == int(connection.server_capabilities.get_value())


@pytest.mark.parametrize("change", ["dialects", "capabilities", "mode"])
def test_a_negotiation_that_was_tampered_with_ends_the_connection(server: KsmbdServer, change: str) -> None:
    """MS-SMB2 3.3.5.15.12: the server terminates the transport connection and does not answer."""
    with Client(server, "3.0.2") as client:
        connection = client.connection
        with pytest.raises(smb.SMBConnectionClosed):
            validate(
                client,
                [0x0202, 0x0210] if change == "dialects" else [DIALECTS["3.0.2"]],
                connection.client_capabilities ^ (4 if change == "capabilities" else 0),
                connection.client_security_mode ^ (3 if change == "mode" else 0),
            )
            connection.echo()
    with Client(server, "3.0.2") as client:
        client.connection.echo()


# --------------------------------------------------------------------------------------------------- compounds, waiting


def test_a_related_compound(server: KsmbdServer) -> None:
    with Client(server) as client:
        file = client.new_open("compound")
        parts = [
            client.open_message("compound", file, ALL, options=DELETE_ON_CLOSE),
            file.write(b"in one frame", 0, send=False),
            file.read(0, 100, send=False),
            file.close(send=False),
        ]
        for message, _ in parts[1:]:
            message["file_id"] = b"\xff" * 16
        messages = [parts[0], *(message for message, _ in parts[1:])]
        session, tree = client.session.session_id, client.tree.tree_connect_id
        requests = client.connection.send_compound(messages, session, tree, related=True)
        file._create_response(requests[0])
        assert parts[1][1](requests[1]) == 12
        assert parts[2][1](requests[2]) == b"in one frame"
        parts[3][1](requests[3])
    assert "compound" not in os.listdir(server.share_path)


def test_a_related_compound_whose_create_fails(server: KsmbdServer) -> None:
    """MS-SMB2 3.3.5.2.7.2: the others fail with the same status."""
    with Client(server) as client:
        file = client.new_open("missing")
        read, _ = file.read(0, 10, send=False)
        close, _ = file.close(send=False)
        read["file_id"] = close["file_id"] = b"\xff" * 16
        messages = [client.open_message("missing", file, disposition=CreateDisposition.FILE_OPEN), read, close]
        session, tree = client.session.session_id, client.tree.tree_connect_id
        for request in client.connection.send_compound(messages, session, tree, related=True):
            with pytest.raises(smb.ObjectNameNotFound):
                client.wait(request)


def test_an_unrelated_compound(server: KsmbdServer) -> None:
    with Client(server) as client:
        one, two = (client.open(name, ALL, options=DELETE_ON_CLOSE) for name in ("one", "two"))
        messages = [one.write(b"1", send=False)[0], two.write(b"22", send=False)[0], one.read(0, 9, send=False)[0]]
        messages[1]["file_id"] = b"\x77" * 16
        session, tree = client.session.session_id, client.tree.tree_connect_id
        requests = client.connection.send_compound(messages, session, tree)
        client.wait(requests[0])
        with pytest.raises(smb.FileClosed):
            client.wait(requests[1])
        assert one._read_response(requests[2]) == b"1"
        one.close()
        two.close()


def pending(client: Client, request: Any) -> None:
    """Wait for the interim response."""
    response = client.connection.receive(request, wait=False, timeout=20)
    assert response["status"].get_value() == 0x103
    request.response_event.clear()
    # receive() has taken it for final
    client.connection.outstanding_requests[request.message["message_id"].get_value()] = request


def test_change_notify_waits_until_it_is_cancelled(server: KsmbdServer) -> None:
    with Client(server) as client:
        folder = client.open("", READ, CreateDisposition.FILE_OPEN, DIRECTORY)
        watcher = FileSystemWatcher(folder)
        watcher.start(CompletionFilter.FILE_NOTIFY_CHANGE_FILE_NAME, ChangeNotifyFlags.SMB2_WATCH_TREE)
        client.connection.echo()
        assert watcher.result is None and not watcher.cancelled
        watcher.cancel()
        watcher.wait()
        assert watcher.cancelled
        folder.close()


def test_change_notify_ends_with_its_folder(server: KsmbdServer) -> None:
    with Client(server) as client:
        folder = client.open("", READ, CreateDisposition.FILE_OPEN, DIRECTORY)
        watcher = FileSystemWatcher(folder)
        watcher.start(CompletionFilter.FILE_NOTIFY_CHANGE_FILE_NAME)
        client.connection.echo()
        folder.close()
        client.connection.echo()
        with pytest.raises(smb.NotifyCleanup):
            watcher.wait()
            raise watcher._t_exc


def test_change_notify_tells_what_another_client_made(server: KsmbdServer) -> None:
    with Client(server) as client, Client(server) as other:
        folder = client.open("", READ, CreateDisposition.FILE_OPEN, DIRECTORY)
        watcher = FileSystemWatcher(folder)
        watcher.start(CompletionFilter.FILE_NOTIFY_CHANGE_FILE_NAME)
        client.connection.echo()
        other.open("news", ALL, options=DELETE_ON_CLOSE).close()
        for action in watcher.wait():
            assert action["file_name"].get_value() == "news"
            assert action["action"].get_value() in (1, 2)
        folder.close()


def test_a_lock_waits_until_the_other_client_lets_go(server: KsmbdServer) -> None:
    def element(flags: int, offset: int = 0) -> SMB2LockElement:
        lock = SMB2LockElement()
        lock["offset"], lock["length"], lock["flags"] = offset, 100, flags
        return lock

    exclusive, at_once = LockFlags.SMB2_LOCKFLAG_EXCLUSIVE_LOCK, LockFlags.SMB2_LOCKFLAG_FAIL_IMMEDIATELY
    with Client(server) as client, Client(server) as other:
        mine, theirs = client.open("locked", ALL), other.open("locked", ALL)
        mine.write(b"x" * 200)
        mine.lock([element(exclusive | at_once)])
        with pytest.raises(smb.SMBResponseException) as refused:
            theirs.lock([element(exclusive | at_once)])
        assert refused.value.status == 0xC0000055  # STATUS_LOCK_NOT_GRANTED
        both: tuple[Callable[[], object], ...] = (lambda: theirs.write(b"y", 50), lambda: theirs.read(0, 10))
        for forbidden in both:
            with pytest.raises(smb.SMBResponseException) as refused:
                forbidden()
            assert refused.value.status == 0xC0000054  # STATUS_FILE_LOCK_CONFLICT
        assert theirs.write(b"y", 150) == 1
        waiting = other.send(theirs.lock([element(exclusive)], send=False)[0])
        pending(other, waiting)
        cancelled = other.send(theirs.lock([element(exclusive)], send=False)[0])
        pending(other, cancelled)
        cancelled.cancel()
        with pytest.raises(smb.Cancelled):
            other.wait(cancelled)
        mine.lock([element(LockFlags.SMB2_LOCKFLAG_UNLOCK)])
        other.wait(waiting)
        with pytest.raises(smb.SMBResponseException):
            mine.write(b"z", 0)
        theirs.close()
        assert mine.write(b"z", 0) == 1
        mine.close()


def test_share_modes(server: KsmbdServer) -> None:
    with Client(server) as client, Client(server) as other:
        file = client.open("exclusive", ALL, share=0)
        with pytest.raises(smb.SharingViolation):
            other.open("exclusive", READ)
        file.close()
        file = other.open("exclusive", READ, share=1)
        client.open("EXCLUSIVE", READ).close()
        with pytest.raises(smb.SharingViolation):
            client.open("exclusive", WRITE)
        with pytest.raises(smb.SharingViolation):
            client.open("exclusive", DELETE)
        file.close()


# ------------------------------------------------------------------------------------------------------------ the rest


def test_streams(server: KsmbdServer) -> None:
    with Client(server) as client:
        file = client.open("with streams", ALL)
        side = client.open("with streams:side", ALL)
        side.write(b"of the side")
        names = query(client, file, FileStreamInformation, FileInformationClass.FILE_STREAM_INFORMATION)
        assert sorted(str(name["stream_name"].get_value()) for name in names) == ["::$DATA", ":side:$DATA"]
        side.close()
        file.close()
        again = client.open("WITH STREAMS:SIDE:$DATA", READ)
        assert again.read(0, 100) == b"of the side"
        again.close()
        client.open("with streams", ALL, options=DELETE_ON_CLOSE).close()


def test_reads_and_writes_of_many_credits(server: KsmbdServer) -> None:
    with Client(server, encrypt=True) as client:
        largest = min(client.connection.max_write_size, 1 << 20)
        client.connection.echo(credit_request=200)
        data = os.urandom(largest)
        file = client.open("large", ALL, options=DELETE_ON_CLOSE)
        assert file.write(data) == largest
        assert file.read(0, largest) == data
        standard = query(client, file, FileStandardInformation, FileInformationClass.FILE_STANDARD_INFORMATION)
        assert standard["end_of_file"].get_value() == largest
        file.close()


def test_a_read_only_share(server: KsmbdServer) -> None:
    (server.shares["readonly"] / "kept").write_text("kept")
    with Client(server, share="readonly") as client:
        file = client.open("kept", READ, CreateDisposition.FILE_OPEN)
        assert file.read(0, 10) == b"kept"
        for access in (WRITE, DELETE, ALL):
            with pytest.raises(smb.SMBResponseException) as refused:
                client.open("kept", access, CreateDisposition.FILE_OPEN)
            assert refused.value.status in (0xC0000022, 0xC00000A2)  # ACCESS_DENIED, MEDIA_WRITE_PROTECTED
        with pytest.raises(smb.SMBResponseException):
            client.open("new", READ, CreateDisposition.FILE_CREATE)
        with pytest.raises(smb.SMBResponseException):
            client.open("kept", READ, CreateDisposition.FILE_OVERWRITE)
        with pytest.raises(smb.AccessDenied):
            file.write(b"x")
        end = FileEndOfFileInformation()
        end["end_of_file"] = 0
        with pytest.raises(smb.AccessDenied):
            set_info(client, file, end)
        file.close()
    assert (server.shares["readonly"] / "kept").read_text() == "kept"
    assert os.listdir(server.shares["readonly"]) == ["kept"]


def test_a_session_log_off_closes_its_files(server: KsmbdServer) -> None:
    with Client(server) as client, Client(server) as other:
        client.open("left open", ALL, share=0)
        with pytest.raises(smb.SharingViolation):
            other.open("left open")
        client.session.disconnect(False)
        other.open("left open", ALL, options=DELETE_ON_CLOSE).close()


def test_everything_is_closed_in_the_end(server: KsmbdServer) -> None:
    server.wait_stats("\nconnections: 0\nsessions: 0\nopens: 0\n")
