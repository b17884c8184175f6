# SPDX-License-Identifier: GPL-2.0-or-later
"""The pages of docs/ for administrators: their commands run as they stand there, and quoted log lines appear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from page_machine import PASSWORD, TOP, blocks, missing, run, section
from realm import missing as no_realm
from server import StartKsmbd
from unixusers import people

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]

SMB_CONF = """[global]
   workgroup = WORKGROUP
   server role = standalone server
   log file = /var/log/samba/log.%m
   disable netbios = yes
   server smb encrypt = desired
[data]
   path = /srv/data
   read only = no
   vfs objects = acl_xattr streams_xattr
[hers]
   comment = Anna's own
   path = /srv/hers
   read only = no
   valid users = anna
"""
SAMBA = f"""
cat > /etc/samba/smb.conf <<'CONF'
{SMB_CONF}CONF
for user in otto anna; do printf '{PASSWORD}\\n{PASSWORD}\\n' | smbpasswd -s -a $user > /dev/null; done
mkdir -m 777 /srv/data /srv/hers
systemctl enable --now smbd nmbd
see() {{ smbclient //server/$2 -U $1%{PASSWORD} -c "$3" 2>&1 || true; }}
printf 'of Samba' > /tmp/page-content-$$; trap 'rm -f /tmp/page-content-$$' EXIT
see otto data "put /tmp/page-content-$$ file; put /tmp/page-content-$$ file:stream; setmode file +h; mkdir folder; \
put /tmp/page-content-$$ secret; put /tmp/page-content-$$ shared"
set_acl() {{ smbcacls //server/data $1 -U otto%{PASSWORD} -S "$2"; }}
set_acl secret "ACL:otto:ALLOWED/0x0/FULL,ACL:anna:DENIED/0x0/READ,ACL:Everyone:ALLOWED/0x0/READ"
set_acl shared "ACL:otto:ALLOWED/0x0/FULL,ACL:anna:ALLOWED/0x0/FULL"
"""
LOOK = """
echo "== $1"
see otto data 'allinfo file'
see otto data 'get file -'
see otto data 'get file:stream -'
see otto data 'get secret -'
see anna data 'get secret -'
see anna data 'get shared -; setmode shared +r; setmode shared -r'
see otto hers ls
see anna hers 'mkdir of-anna; ls'
"""


@pytest.fixture
def room() -> Iterator[Path]:
    """Not below pytest's folder, which others may not enter."""
    with TemporaryDirectory(prefix="ksmbd-page-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def _look(word: str) -> str:
    return LOOK.replace("$1", word)


def _looks(printed: str) -> dict[str, str]:
    """What `_look` has printed: word -> text, without what differs between two runs."""
    parts = re.split(r"^== (\S+)\n", printed, flags=re.MULTILINE)
    return {word: re.sub(r"(?m)^.*blocks (of size|available).*\n", "", text)
            for word, text in zip(parts[1::2], parts[2::2], strict=True)}  # fmt: skip


def test_moving_from_samba(room: Path) -> None:
    *forward, back = section("moving.md", "From Samba")
    printed = run(room, SAMBA + _look("samba") + "".join(forward) + _look("ksmbd") + back + _look("again"))
    seen = _looks(printed)
    for text in seen.values():
        assert "attributes: HA" in text and "stream: [:stream:$DATA], 8 bytes" in text
        assert text.count("of Samba") == 4  # file, stream, otto's secret and what anna shares
        assert "NT_STATUS_ACCESS_DENIED opening remote file \\secret" in text  # anna
        assert "tree connect failed: NT_STATUS_ACCESS_DENIED" in text and "of-anna" in text
    assert "SIDs: 2 added" in printed and "users: 2 added" in printed


KDC = f"""
mkdir -m 700 /srv/kdc; mkdir -p /etc/krb5kdc; mkdir -m 777 /srv/data
printf '127.0.0.1 localhost server.example.test server\\n' > /etc/hosts
rm -f /etc/krb5.keytab
cat > /etc/krb5.conf <<'CONF'
[libdefaults]
    default_realm = EXAMPLE.TEST
    dns_lookup_kdc = false
[realms]
    EXAMPLE.TEST = {{
        kdc = 127.0.0.1
    }}
[domain_realm]
    .example.test = EXAMPLE.TEST
CONF
cat > /etc/krb5kdc/kdc.conf <<'CONF'
[realms]
    EXAMPLE.TEST = {{
        database_name = /srv/kdc/principal
        key_stash_file = /srv/kdc/stash
    }}
CONF
export KRB5CCNAME=/srv/kdc/cache
kdb5_util create -s -P master
krb5kdc
kadmin.local -q 'addprinc -pw {PASSWORD} otto'
touch /srv/data/of-the-realm
"""


@pytest.mark.skipif(bool(no_realm()), reason=no_realm())
def test_kerberos(room: Path) -> None:
    """A user who has no password here, but a Unix account."""
    page = "".join(section("kerberos.md", "An MIT realm") + section("kerberos.md", "Look whether it works"))
    printed = run(room, KDC + page.replace("grep '^kerberos", "tee /dev/stderr | grep '^kerberos"))
    assert "kerberos on log-ons with a ticket are accepted" in printed and "of-the-realm" in printed


KSMBD_CONF = """[global]
    netbios name = SERVER
[data]
    path = /srv/data
    read only = no
"""


def test_moving_from_ksmbd(room: Path) -> None:
    there = f"""
mkdir -m 777 /srv/data; mkdir /etc/ksmbd
cat > /etc/ksmbd/ksmbd.conf <<'CONF'
{KSMBD_CONF}CONF
echo 1:2:3 > /etc/ksmbd/ksmbd.subauth
echo 'otto:h4ubIwIdzuN+LlflGp2aMQ==' > /etc/ksmbd/ksmbdpwd.db
systemctl enable --now ksmbd
"""
    printed = run(room, there + "".join(section("moving.md", "From KSMBD and its ksmbd-tools")))
    assert re.search(r"^otto +otto +\d+\b", printed, re.MULTILINE)
    assert re.search(r"^data +write +/srv/data", printed, re.MULTILINE)


def test_connecting(room: Path) -> None:
    there = f"""
mkdir -m 777 /srv/data
ksmbd.addshare -a -o 'path = /srv/data' -o 'read only = no' data
ksmbd.adduser -a -p {PASSWORD} otto
systemctl enable --now ksmbd
touch /srv/data/a-file
"""
    printed = run(room, there + "".join(blocks("connecting.md")))
    assert re.search(r"^  a-file ", printed, re.MULTILINE)
    assert re.search(r"^\tdata +Disk", printed, re.MULTILINE)
    assert re.search(r"^LISTEN .*:445 ", printed, re.MULTILINE)


QUOTED = re.compile(r"^\| (`+)(refused .*?)\1 \|", re.MULTILINE)


def test_troubleshooting_quotes_the_log(tmp_path: Path, start_ksmbd: StartKsmbd) -> None:
    """Each line of the log that the page quotes appears, when what the page says is done."""
    with people() as them:
        shares = {
            "s": {"force user": ""}, "hers": {"valid users": them.bob, "force user": ""},
            "far": {"hosts deny": "127.0.0.1", "force user": ""},
            "sealed": {"smb3 encryption": "mandatory", "force user": ""},
        }  # fmt: skip
        users = {them.alice: PASSWORD, "homeless": PASSWORD}
        server = start_ksmbd(users=users, shares=shares)
        right = f"{them.alice}%{PASSWORD}"
        for share, user, arguments in (
            ("none", right, ()), ("hers", right, ()), ("far", right, ()), ("s", f"{them.alice}%wrong", ()),
            ("sealed", right, ("--option=client max protocol=SMB2_10", "--option=client smb encrypt=off")),
            ("s", f"nobody-here%{PASSWORD}", ()), ("s", f"homeless%{PASSWORD}", ()),
            ("s", right, ("--option=client max protocol=NT1", "--option=client min protocol=NT1")),
            ("s", right, ("--option=client ntlmv2 auth=no", "--option=client use spnego=yes")),
        ):  # fmt: skip
            server.smbclient("ls", *arguments, share=share, user=user)
        told = server.drain()
        guests = start_ksmbd(users=users, shares={"s": {}}, options={"map to guest": "bad user"})
        guests.smbclient("ls", user="somebody%", share="s")
        told += guests.drain()
        signed = start_ksmbd(
            users=users, shares={"s": {}}, options={"map to guest": "bad user", "server signing": "mandatory"}
        )
        signed.smbclient("ls", user="somebody%", share="s")
        told += signed.drain()
    quoted = [match[2] for match in QUOTED.finditer((TOP / "docs" / "troubleshooting.md").read_text())]
    assert len(quoted) >= 9
    missing_lines = [line for line in quoted if not re.search(_pattern(line), told)]
    assert not missing_lines, told


def _pattern(quoted: str) -> str:
    """`…` is the address."""
    return r" from 127\.0\.0\.1".join(re.escape(part).replace(r"\ …", "") for part in quoted.split(" …"))
