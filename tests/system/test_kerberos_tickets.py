# SPDX-License-Identifier: GPL-2.0-or-later
"""Tickets that must not be accepted, by a real server: times, keys, clocks, replays, and whose name they bear."""

from __future__ import annotations

import io
import os
import re
import secrets
import signal
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit" / "mountd"))

import tickets
from impacket.krb5.crypto import Key
from impacket.smbconnection import SessionError, SMBConnection
from realm import HOST, Realm, realm_below
from server import KsmbdServer, StartKsmbd
from tickets import KERBEROS, MS_KERBEROS, Forger, LogOn, log_on, service_key, spnego
from unixusers import people
from validation_info import DOMAIN, logon_info

from ksmbd.smb.acl import ACCESS_ALLOWED, ACCESS_DENIED
from ksmbd.smb.constants import DACL_SECURITY_INFORMATION
from ksmbd.smb.security_descriptor import SE_DACL_PRESENT, SE_SELF_RELATIVE, Ace, Acl, SecurityDescriptor
from ksmbd.smb.sid import EVERYONE, sid_from_text
from ksmbd.smb.status import (
    STATUS_ACCESS_DENIED,
    STATUS_INVALID_PARAMETER,
    STATUS_LOGON_FAILURE,
    STATUS_MORE_PROCESSING_REQUIRED,
    STATUS_SUCCESS,
    STATUS_TIME_DIFFERENCE_AT_DC,
)

NTLMSSP = bytes.fromhex("060a2b06010401823702020a")
NEGOEX = bytes.fromhex("060a2b06010401823702021e")
RULES = "  auth_to_local = RULE:[1:$1@$0](^bob@PARTNER[.]TEST$)s/.*/alice/\n  auth_to_local = DEFAULT\n"


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    with realm_below(tmp_path_factory.mktemp("realm") / "kdc") as realm:
        realm.configure(of_realm=RULES)
        realm.add("HTTP/" + HOST, keytab=realm.keytab)
        yield realm


@pytest.fixture(scope="module")
def server(realm: Realm, start_shared: StartKsmbd) -> KsmbdServer:
    given = {"kerberos support": "yes", "kerberos keytab file": str(realm.keytab)}
    server = start_shared(users={"alice": "by NTLM"}, environment=realm.environment, options=given)
    assert "HTTP/" not in server.drain(), "its keys are not the file server's"
    return server


@pytest.fixture
def forger(realm: Realm) -> Forger:
    service = f"cifs/{HOST}"
    return Forger(service_key(realm.keytab, f"{service}@{realm.name}"), service, realm.name)


def child(server: KsmbdServer, title: bytes) -> int:
    """The process id of a child of the daemon."""
    for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
        if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title):
            return int(pid)
    raise AssertionError(f"{title!r} does not run")


def told(server: KsmbdServer, before: int, reason: str) -> None:
    server.wait_for(f"refused log-on from 127[.0-9]+: [^\n]*{reason}", after=before)


@pytest.mark.parametrize("oid", [KERBEROS, MS_KERBEROS], ids=["RFC 4121", "MS-KRB5"])
@pytest.mark.parametrize("flags", [tickets.MUTUAL, 0], ids=["mutual", "one-sided"])
def test_a_good_token_logs_on_bare_and_in_spnego(server: KsmbdServer, forger: Forger, oid: bytes, flags: int) -> None:
    for wrap in (False, True):
        token, _ = forger.token("alice", flags=flags, oid=oid)
        with LogOn(server) as connection:
            status, reply = connection.step(spnego([oid, NTLMSSP], token) if wrap else token)
        assert status == STATUS_SUCCESS
        assert (oid in reply if wrap else reply[:1] == b"\x60" * bool(flags))
        assert (KERBEROS + b"\2\0" in reply or MS_KERBEROS + b"\2\0" in reply) == bool(flags), "KRB_AP_REP"


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "expired": ({"begin": -7200, "end": -3600}, STATUS_LOGON_FAILURE, "[Ee]xpired"),
    "expired within the clocks' difference": ({"begin": -7200, "end": -60}, STATUS_LOGON_FAILURE, "expired"),
    "of the future": ({"begin": 3600, "end": 7200}, STATUS_LOGON_FAILURE, "not yet valid"),
    "a clock that is slow": ({"clock": -900}, STATUS_TIME_DIFFERENCE_AT_DC, "[Cc]lock skew"),
    "a clock that is fast": ({"clock": 900}, STATUS_TIME_DIFFERENCE_AT_DC, "[Cc]lock skew"),
    "nobody's": ({"client": "mallory"}, STATUS_LOGON_FAILURE, "no Unix account"),
    "an administrator's name": ({"client": "root"}, STATUS_LOGON_FAILURE, "below `min domain uid`"),
    "another realm's": ({"realm": "PARTNER.TEST"}, STATUS_LOGON_FAILURE, "auth_to_local"),
    "another realm's root": ({"client": "root", "realm": "PARTNER.TEST"}, STATUS_LOGON_FAILURE, "auth_to_local"),
    "a role's": ({"client": "alice/admin"}, STATUS_LOGON_FAILURE, "auth_to_local"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_tickets_are_refused_and_told(server: KsmbdServer, forger: Forger, what: str) -> None:
    options, status, reason = BAD[what]
    before = len(server.drain())
    token, _ = forger.token(**{"client": "alice", **options})
    assert log_on(server, spnego([KERBEROS], token)) == status
    told(server, before, reason)


@pytest.mark.parametrize("client", ["alice"])
def test_a_clock_that_differs_a_little_does_no_harm(server: KsmbdServer, forger: Forger, client: str) -> None:
    for clock in (-120, 120):
        assert log_on(server, forger.token(client, clock=clock)[0]) == STATUS_SUCCESS


def test_a_rule_makes_a_user_of_another_realms(server: KsmbdServer, forger: Forger) -> None:
    assert log_on(server, forger.token("bob", realm="PARTNER.TEST")[0]) == STATUS_SUCCESS
    assert log_on(server, forger.token("bobby", realm="PARTNER.TEST")[0]) == STATUS_LOGON_FAILURE


def test_the_wrong_key_is_no_key(realm: Realm, server: KsmbdServer, forger: Forger) -> None:
    other = Forger(Key(tickets.AES256, secrets.token_bytes(32)), forger.service, forger.realm)
    before = len(server.drain())
    assert log_on(server, other.token("alice")[0]) == STATUS_LOGON_FAILURE
    told(server, before, "")
    before = len(server.drain())
    assert log_on(server, other.token("alice", service='cifs/a(b)"c')[0]) == STATUS_LOGON_FAILURE
    told(server, before, "cifs/a\\[b\\]'c")
    web = f"HTTP/{HOST}"
    key = service_key(realm.keytab, f"{web}@{realm.name}")
    assert log_on(server, Forger(key, web, realm.name).token("alice")[0]) == STATUS_LOGON_FAILURE
    assert log_on(server, Forger(key, forger.service, realm.name).token("alice")[0]) == STATUS_LOGON_FAILURE


def test_the_same_token_logs_on_once(server: KsmbdServer, forger: Forger) -> None:
    token, _ = forger.token("alice")
    assert log_on(server, spnego([KERBEROS], token)) == STATUS_SUCCESS
    for again in (token, spnego([KERBEROS], token), spnego([MS_KERBEROS], token.replace(KERBEROS, MS_KERBEROS, 1))):
        before = len(server.drain())
        assert log_on(server, again) == STATUS_LOGON_FAILURE
        told(server, before, "replay")


def member(forger: Forger, client: str, info: bytes, signed_by: Key | None = None) -> dict[str, Any]:
    """A ticket with a PAC, for `kerberosLogin` and `token`."""
    authtime = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    return {"client": client, "authtime": authtime, "pac": forger.pac(client, info, authtime, signed_by)}


def test_the_pac_tells_the_account_s_name_where_its_signature_is_right(server: KsmbdServer, forger: Forger) -> None:
    info = logon_info("alice", 1105, 513, {513: 7})
    assert log_on(server, forger.token(**member(forger, "a.liddell", info))[0]) == STATUS_SUCCESS
    before = len(server.drain())
    forged = member(forger, "a.liddell", info, Key(tickets.AES256, secrets.token_bytes(32)))
    assert log_on(server, forger.token(**forged)[0]) == STATUS_LOGON_FAILURE, "without it he is nobody here"
    told(server, before, "no Unix account of that name")
    others = {**member(forger, "b.other", info), "client": "a.liddell"}
    assert log_on(server, forger.token(**others)[0]) == STATUS_LOGON_FAILURE, "somebody else's PAC"


def test_a_pac_that_is_broken_is_no_log_on(server: KsmbdServer, forger: Forger) -> None:
    before = len(server.drain())
    token, _ = forger.token(**member(forger, "alice", logon_info("alice", 1105, 513, {})[:90]))
    assert log_on(server, token) == STATUS_LOGON_FAILURE
    told(server, before, "PAC is malformed")


def reads(server: KsmbdServer, forger: Forger, **ticket: Any) -> bytes:
    """What a client with this ticket reads of the file; b'' where access is denied."""
    made, session = forger.ticket(**ticket)
    connection = SMBConnection(HOST, "127.0.0.1", sess_port=server.port, timeout=20)
    connection.kerberosLogin(ticket["client"], "", forger.realm, TGS=tickets.as_tgs(made, session))
    data = io.BytesIO()
    try:
        connection.getFile("share", "members", data.write)
    except SessionError as error:
        assert error.getErrorCode() == STATUS_ACCESS_DENIED
    finally:
        connection.close()
    return data.getvalue()


def deny_group(server: KsmbdServer, user: str, password: str) -> None:
    """Give the file an access control list that lets everybody read it but a group of the domain."""
    members = Ace(ACCESS_DENIED, 0, 1, sid_from_text(f"{DOMAIN}-1200"))
    acl = Acl((members, Ace(ACCESS_ALLOWED, 0, 0x120089, EVERYONE)))
    descriptor = SecurityDescriptor(SE_SELF_RELATIVE | SE_DACL_PRESENT, None, None, acl).encode()
    connection = SMBConnection("127.0.0.1", "127.0.0.1", sess_port=server.port, timeout=20)
    connection.login(user, password)
    tree = connection.connectTree("share")
    file = connection.openFile(tree, "members", desiredAccess=0x40000)
    connection.getSMBServer().setInfo(tree, file, descriptor, 3, 0, DACL_SECURITY_INFORMATION)
    connection.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="users of its own need root")
def test_a_group_of_the_domain_counts_in_access_control_lists(
    realm: Realm, forger: Forger, start_ksmbd: StartKsmbd
) -> None:
    with people() as them:
        server = start_ksmbd(
            users={them.alice: "x", them.bob: "y"}, environment=realm.environment,
            options={"kerberos support": "yes", "kerberos keytab file": str(realm.keytab)},
            shares={"share": {"force user": "", "vfs objects": "acl_xattr"}},
        )  # fmt: skip
        (server.folder / "local").write_bytes(b"others alone")
        assert server.smbclient("put local members", user=f"{them.bob}%y").returncode == 0
        deny_group(server, them.bob, "y")
        info = {rid: logon_info(them.alice, 1105, 513, {rid: 7}) for rid in (1200, 1201)}
        assert reads(server, forger, **member(forger, them.alice, info[1201])) == b"others alone"
        assert reads(server, forger, **member(forger, them.alice, info[1200])) == b""
        wrong = Key(tickets.AES256, secrets.token_bytes(32))
        unsigned = member(forger, them.alice, info[1200], wrong)
        assert reads(server, forger, **unsigned) == b"others alone", "a PAC that nobody has signed says nothing"
        assert reads(server, forger, client=them.alice) == b"others alone"


def test_killed_the_process_remembers_and_comes_back(server: KsmbdServer, forger: Forger) -> None:
    token, _ = forger.token("alice")
    assert log_on(server, token) == STATUS_SUCCESS
    before = len(server.drain())
    os.kill(child(server, b"ksmbd.kerberos"), signal.SIGKILL)
    server.wait_for("ksmbd.kerberos was ended by signal SIGKILL: log-ons with Kerberos fail", after=before)
    server.wait_for("Kerberos: cifs/", after=before)
    before = len(server.drain())
    assert log_on(server, token) == STATUS_LOGON_FAILURE
    told(server, before, "replay")
    assert log_on(server, forger.token("alice")[0]) == STATUS_SUCCESS


def test_rubbish_is_no_ticket(server: KsmbdServer, forger: Forger) -> None:
    token, _ = forger.token("alice")
    for bad in (token[:-1], token[:-40] + bytes(40), token[:60], tickets.tlv(0x60, KERBEROS, b"\1\0"), token + b"\0"):
        assert log_on(server, bad) in (STATUS_LOGON_FAILURE, STATUS_INVALID_PARAMETER)
    assert log_on(server, forger.token("alice")[0]) == STATUS_SUCCESS, "the process is there"


def test_an_optimistic_token_of_another_mechanism(server: KsmbdServer, forger: Forger) -> None:
    """Kerberos is chosen and the list protected by both sides; without NTLM, which the client would offer as well."""
    with LogOn(server) as connection:
        status, reply = connection.step(spnego([NEGOEX, KERBEROS], b"NEGOEXTS"))
        assert status == STATUS_MORE_PROCESSING_REQUIRED and KERBEROS in reply
        assert b"\x0a\x01\x03" in reply, "request-mic"
        token, _ = forger.token("alice")
        answer = tickets.tlv(0xA1, tickets.tlv(0x30, tickets.tlv(0xA2, tickets.tlv(4, token))))
        status, reply = connection.step(answer)
        assert status == STATUS_MORE_PROCESSING_REQUIRED, "the client's mechListMIC is to come"
        assert re.search(rb"\xa3.\x04.\x04\x04", reply, re.DOTALL), "the server's (RFC 4121 4.2.6.1)"
        wrong = tickets.tlv(0xA1, tickets.tlv(0x30, tickets.tlv(0xA3, tickets.tlv(4, bytes(28)))))
        assert connection.step(wrong)[0] == STATUS_LOGON_FAILURE
