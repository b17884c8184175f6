# SPDX-License-Identifier: GPL-2.0-or-later
"""ksmbd.conf is read by KSMBD's rules; what is wrong is told with file and line."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountd.config import Configuration, Severity, load, parse
from mountd.parameters import (
    GLOBAL_PARAMETERS,
    PARAMETERS,
    READ_ONLY_PRECEDENCE,
    SHARE_PARAMETERS,
    Kind,
    Parameter,
)
from mountd.settings import GlobalSettings, ShareSettings


def read(text: str, *, samba: bool = False) -> Configuration:
    return parse(text, "smb.conf" if samba else "ksmbd.conf", samba=samba)


def messages(configuration: Configuration) -> list[str]:
    return [str(diagnostic) for diagnostic in configuration.diagnostics]


TYPES = {
    Kind.BOOLEAN: "bool",
    Kind.NUMBER: "int",
    Kind.SIZE: "int",
    Kind.MODE: "int",
    Kind.CHOICE: "str",
    Kind.STRING: "str",
    Kind.LIST: "tuple[str, ...]",
    Kind.PATTERNS: "tuple[str, ...]",
}


def test_settings_have_a_field_of_the_right_type_for_every_parameter() -> None:
    def expected(parameters: dict[str, Parameter], without: tuple[str, ...] = ()) -> dict[str, str]:
        return {p.attribute: TYPES[p.kind] for p in parameters.values() if p.name not in without}

    def fields(settings: type) -> dict[str, object]:
        return {field.name: field.type for field in dataclasses.fields(settings)}

    assert fields(GlobalSettings) == expected(GLOBAL_PARAMETERS)
    assert fields(ShareSettings) == expected(SHARE_PARAMETERS, READ_ONLY_PRECEDENCE[1:]) | {"name": "str"}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: f"{p.name} ({p.scope.value})")
def test_every_default_is_an_allowed_value(parameter: Parameter) -> None:
    for default in (parameter.default, parameter.samba):
        if default is not None and not (parameter.kind is Kind.BOOLEAN and default == ""):
            assert parameter.parse(default)[1] == ""


def test_defaults_are_those_of_ksmbd() -> None:
    configuration = read("[a]\npath = /srv\n")
    settings, share = configuration.settings, configuration.shares["a"]
    assert (settings.tcp_port, settings.max_connections, settings.max_ip_connections) == (445, 256, 32)
    assert (settings.smb2_max_read, settings.smb2_max_trans, settings.smb2_max_credits) == (4 << 20, 8 << 20, 8192)
    assert (settings.netbios_name, settings.workgroup, settings.guest_account) == (
        "KSMBD SERVER",
        "WORKGROUP",
        "nobody",
    )
    assert (settings.server_min_protocol, settings.server_max_protocol) == ("SMB2_02", "SMB3_11")
    assert (share.create_mask, share.directory_mask, share.read_only, share.max_connections) == (
        0o744,
        0o755,
        True,
        128,
    )
    assert configuration.diagnostics == []


@pytest.mark.parametrize("path", ["/etc/samba/smb.conf", "smb.conf"])
def test_smb_conf_is_told_by_its_name(tmp_path: Path, path: str) -> None:
    file = tmp_path / "smb.conf"
    file.write_text("[a]\npath = /srv\n")
    assert load(file).settings.server_multi_channel_support
    assert not load(file, samba=False).settings.server_multi_channel_support


class TestRulesOfWriting:
    def test_comments_go_to_the_end_of_the_line(self) -> None:
        share = read("; one\n# two\n[a] ; three\npath = /srv # four\nread only = ; yes\ncomment = a;b\n").shares["a"]
        assert (share.path, share.comment, share.read_only) == ("/srv", "a", True)

    def test_sections_of_one_name_in_any_case_are_one(self) -> None:
        configuration = read("[Data]\npath = /srv\n[other]\npath = /o\n[DATA]\ncomment = late\n")
        assert set(configuration.shares) == {"data", "other", "ipc$"}
        assert configuration.share("dAtA") == configuration.shares["data"]
        assert (configuration.shares["data"].name, configuration.shares["data"].comment) == ("Data", "late")

    def test_of_a_key_given_twice_the_first_value_that_is_not_empty_counts(self) -> None:
        configuration = read("[a]\npath =\npath = /first\npath = /second\n")
        assert configuration.shares["a"].path == "/first"
        assert messages(configuration) == [
            "ksmbd.conf:4: warning: `path` is already set in line 3; this value is not used"
        ]

    def test_keys_in_any_case_and_spacing(self) -> None:
        assert read("[a]\n PATH\t=\t/srv\t\nRead   Only=no\n").shares["a"].writeable

    def test_dos_line_ends_and_a_byte_order_mark(self, tmp_path: Path) -> None:
        file = tmp_path / "ksmbd.conf"
        file.write_bytes(b"\xef\xbb\xbf[global]\r\nworkers = 3\r\n")
        assert load(file).settings.workers == 3
        assert load(file).diagnostics == []

    @pytest.mark.parametrize("text", ["yes", "1", "true", "enable", "YES", "True"])
    def test_true(self, text: str) -> None:
        assert read(f"[global]\nsmb2 leases = {text}\n").settings.smb2_leases

    @pytest.mark.parametrize("text", ["no", "0", "false", "disable", "No"])
    def test_false(self, text: str) -> None:
        assert not read(f"[global]\nbpf = {text}\n").settings.bpf

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("65536", 65536),
            ("128K", 128 << 10),
            ("1m", 1 << 20),
            ("4MB", 4 << 20),
            ("0x100000", 1 << 20),
            ("2 MiB", 2 << 20),
        ],
    )
    def test_sizes(self, text: str, value: int) -> None:
        assert read(f"[global]\nsmb2 max write = {text}\n").settings.smb2_max_write == value

    def test_lists_and_patterns(self) -> None:
        share = read("[a]\npath = /s\nvalid users = u1,u2\t@staff  u3\nveto files = /a b/*.tmp/c?/\n").shares["a"]
        assert share.valid_users == ("u1", "u2", "@staff", "u3")
        assert share.veto_files == ("a b", "*.tmp", "c?")

    @given(st.text(max_size=200))
    def test_any_text_gives_settings_and_diagnostics_and_never_an_exception(self, text: str) -> None:
        for samba in (False, True):
            configuration = read(text, samba=samba)
            assert "ipc$" in configuration.shares
            assert all(0 <= d.line <= text.count("\n") + 1 for d in configuration.diagnostics)

    @given(st.binary(max_size=100))
    def test_any_file_content(self, tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
        file = tmp_path_factory.getbasetemp() / "any.conf"
        file.write_bytes(content)
        assert load(file).settings.tcp_port


class TestDefaultsForShares:
    def test_share_parameters_in_global_are_defaults(self) -> None:
        shares = read(
            "[global]\ncreate mask = 0700\nread only = no\n[a]\npath = /a\n[b]\npath = /b\ncreate mask = 0600\n"
        ).shares
        assert (shares["a"].create_mask, shares["b"].create_mask) == (0o700, 0o600)
        assert not shares["a"].read_only

    def test_ipc_takes_none_of_them(self) -> None:
        """A `veto files` in [global] once made the list of shares unreadable in KSMBD (cifsd-team/ksmbd#617)."""
        ipc = read(
            "[global]\nveto files = /srvsvc/*/\nguest ok = yes\npath = /etc\nread only = no\nvalid users = a\n"
        ).shares["ipc$"]
        assert (ipc.veto_files, ipc.guest_ok, ipc.path, ipc.read_only, ipc.valid_users) == ((), False, "", True, ())
        assert (ipc.is_ipc, ipc.comment) == (True, "IPC share")

    def test_ipc_can_be_set_itself_but_never_gets_a_folder(self) -> None:
        ipc = read("[IPC$]\npath = /etc\ncomment = pipes\nhosts allow = 127.0.0.1\n").shares["ipc$"]
        assert (ipc.path, ipc.comment, ipc.hosts_allow) == ("", "pipes", ("127.0.0.1",))

    def test_max_connections_and_guest_account_of_global_are_not_defaults(self) -> None:
        configuration = read(
            "[global]\nmax connections = 7\nguest account = g\nsmb3 encryption = mandatory\n[a]\npath = /a\n"
        )
        share = configuration.shares["a"]
        assert (configuration.settings.max_connections, share.max_connections) == (7, 128)
        assert (share.guest_account, share.smb3_encryption) == ("", "auto")

    @pytest.mark.parametrize(
        ("lines", "read_only"),
        [
            ("", True),
            ("writable = yes", False),
            ("writeable = yes", False),
            ("write ok = yes", False),
            ("write ok = yes\nwriteable = no", True),
            ("writeable = no\nwritable = yes", False),
            ("writable = yes\nread only = yes", True),
            ("write ok = no\nread only = no", False),
            ("read only = \nwrite ok = yes", False),
        ],
    )
    def test_precedence_of_read_only(self, lines: str, read_only: bool) -> None:
        assert read(f"[a]\npath = /a\n{lines}\n").shares["a"].read_only is read_only

    def test_a_share_goes_before_global_in_read_only_too(self) -> None:
        assert not read("[global]\nread only = yes\n[a]\npath = /a\nwrite ok = yes\n").shares["a"].read_only

    def test_root_directory(self) -> None:
        configuration = read("[global]\nroot directory = /jail\n[a]\npath = /a\n")
        assert configuration.shares["a"].full_path(configuration.settings) == "/jail/a"


class TestDiagnostics:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[global]\nfoo = 1\n", "ksmbd.conf:2: warning: unknown parameter `foo` is ignored"),
            ("[a]\npath = /a\ntcp port = 4\n", "ksmbd.conf:3: warning: `tcp port` belongs in [global]; ignored in [a]"),
            ("[global]\ntcp port = x\n", "ksmbd.conf:2: error: `tcp port = x`: allowed is a number from 1 to 65535"),
            (
                "[global]\ntcp port = 65536\n",
                "ksmbd.conf:2: error: `tcp port = 65536`: allowed is a number from 1 to 65535",
            ),
            (
                "[global]\n\nmap to guest = bad password\n",
                "ksmbd.conf:3: warning: `map to guest = bad password`: is not supported and taken as never: guests "
                "would be let in after a failed log-on",
            ),
            (
                "[global]\nsmb3 encryption = perhaps\n",
                "ksmbd.conf:2: error: `smb3 encryption = perhaps`: allowed is disabled, enabled, auto or mandatory",
            ),
            (
                "[a]\npath = /a\ncreate mask = 0999\n",
                "ksmbd.conf:3: error: `create mask = 0999`: allowed is an octal mode from 0000 to 7777",
            ),
            (
                "[a]\npath = /a\nvfs objects = recycle\n",
                "ksmbd.conf:3: warning: `vfs objects = recycle`: not supported and left out: recycle",
            ),
            (
                "[global]\nnetbios name = SIXTEENLETTERS16\n",
                "ksmbd.conf:2: warning: `netbios name = SIXTEENLETTERS16`: too long, taken as SIXTEENLETTERS1: "
                "allowed is a text of at most 15 bytes",
            ),
            (
                "[global]\nbpf = maybe\n",
                "ksmbd.conf:2: error: `bpf = maybe`: allowed is yes or no (also true, 1, enable, false, 0, disable)",
            ),
            (
                "[global]\nsmb2 max read = 64M\n",
                "ksmbd.conf:2: warning: `smb2 max read = 64M`: out of range, taken as 8388608: allowed is a size "
                "(suffix K, M, G, T, P or E) from 65536 to 8388608",
            ),
            ("[global]\njust words\n", "ksmbd.conf:2: error: neither a section nor `parameter = value`: 'just words'"),
            ("path = /a\n", "ksmbd.conf:1: error: `path` stands before the first section; put [global] above it"),
            ("[a\npath = /a\n", "ksmbd.conf:1: error: not a section: '[a' (allowed is [name])"),
            ("[]\n", "ksmbd.conf:1: error: []: a share's name has 1 to 63 bytes, this one has 0"),
            (
                f"[{'é' * 32}]\n",
                f"ksmbd.conf:1: error: [{'é' * 32}]: a share's name has 1 to 63 bytes, this one has 64",
            ),
            ("[a/b]\npath = /a\n", "ksmbd.conf:1: error: [a/b]: a share's name cannot contain '/'"),
            ("[a]\ncomment = x\n", "ksmbd.conf:1: warning: [a] has no `path` and is not shared"),
            ("[a]\npath = srv\n", "ksmbd.conf:2: error: `path = srv` in [a]: allowed is an absolute path"),
            (
                "[global]\nserver min protocol = SMB3_11\nserver max protocol = SMB3_00\n",
                "ksmbd.conf:2: error: `server min protocol` (SMB3_11) is above `server max protocol` (SMB3_00): "
                "no client could connect",
            ),
        ],
    )
    def test_message(self, text: str, message: str) -> None:
        assert message in messages(read(text))

    def test_a_bad_value_leaves_the_default_and_is_an_error(self) -> None:
        configuration = read("[global]\nworkers = many\n")
        assert configuration.settings.workers == 0
        assert [d.severity for d in configuration.errors] == [Severity.ERROR]

    def test_a_bad_default_in_global_is_told_once_for_all_shares(self) -> None:
        assert len(messages(read("[global]\noplocks = x\n[a]\npath = /a\n[b]\npath = /b\n"))) == 1

    @pytest.mark.parametrize("name", ["max connections", "max ip connections", "max active sessions", "max open files"])
    def test_numbers_above_the_cap_are_brought_to_it_and_zero_means_the_cap(self, name: str) -> None:
        attribute = name.replace(" ", "_")
        assert getattr(read(f"[global]\n{name} = 70000\n").settings, attribute) == 65536
        assert getattr(read(f"[global]\n{name} = 0\n").settings, attribute) == 65536

    def test_a_missing_file_is_one_error(self, tmp_path: Path) -> None:
        configuration = load(tmp_path / "ksmbd.conf")
        assert [d.severity for d in configuration.diagnostics] == [Severity.ERROR]
        assert "No such file" in configuration.diagnostics[0].message
        assert configuration.settings.tcp_port == 445

    def test_a_folder_instead_of_a_file_is_one_error(self, tmp_path: Path) -> None:
        assert len(load(tmp_path).errors) == 1

    def test_bytes_that_are_not_utf8_are_told_with_their_line(self, tmp_path: Path) -> None:
        file = tmp_path / "ksmbd.conf"
        file.write_bytes(b"[global]\nworkers = 2\nserver string = \xff\n")
        configuration = load(file)
        assert [(d.line, d.message) for d in configuration.errors] == [(3, "not UTF-8")]
        assert configuration.settings.workers == 2


class TestSmbConf:
    def test_samba_defaults(self) -> None:
        configuration = read("[a]\npath = /a\n", samba=True)
        settings = configuration.settings
        assert (settings.server_min_protocol, settings.smb2_leases, settings.durable_handles) == ("SMB2_02", True, True)
        assert (settings.smb2_max_read, settings.share_fake_fscaps) == (8 << 20, 0)
        assert (configuration.shares["a"].follow_symlinks, configuration.shares["a"].max_connections) == (True, 65536)

    @pytest.mark.parametrize(
        ("line", "attribute", "value"),
        [
            ("public = yes", "guest_ok", True),
            ("ReadOnly = No", "read_only", False),
            ("write able = on", "read_only", False),
            ("browsable = off", "browseable", False),
            ("directory mode = 0700", "directory_mask", 0o700),
            ("allow hosts = 10.0.0.0/8", "hosts_allow", ("10.0.0.0/8",)),
            ("smb encrypt = required", "smb3_encryption", "mandatory"),
            ("vfs object = acl_xattr", "vfs_objects", ("acl_xattr",)),
            ("valid users = +staff &admins u", "valid_users", ("@staff", "@admins", "u")),
            ('comment = "in quotes"', "comment", "in quotes"),
            ("comment = with # and ;", "comment", "with # and ;"),
        ],
    )
    def test_share_lines(self, line: str, attribute: str, value: object) -> None:
        configuration = read(f"[a]\npath = /a\n{line}\n", samba=True)
        assert getattr(configuration.shares["a"], attribute) == value
        assert configuration.diagnostics == []

    @pytest.mark.parametrize(
        ("line", "attribute", "value"),
        [
            ("smb ports = 445 139", "tcp_port", 445),
            ("min protocol = NT1", "server_min_protocol", "SMB2_02"),
            ("server min protocol = SMB2", "server_min_protocol", "SMB2_10"),
            ("protocol = SMB3", "server_max_protocol", "SMB3_11"),
            ("server smb encrypt = desired", "smb3_encryption", "enabled"),
            ("smb encrypt = off", "smb3_encryption", "disabled"),
            ("server signing = required", "server_signing", "mandatory"),
            ("ntlm auth = yes", "ntlm_auth", "ntlmv1-permitted"),
            ("map to guest = Bad Password", "map_to_guest", "never"),
        ],
    )
    def test_global_lines(self, line: str, attribute: str, value: object) -> None:
        assert getattr(read(f"[global]\n{line}\n", samba=True).settings, attribute) == value

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[global]\nmap to guest = Bad Password\n", "taken as never"),
            ("[a]\npath = /a\nvfs objects = acl_xattr recycle full_audit\n", "left out: recycle, full_audit"),
        ],
    )
    def test_what_is_lost_is_told(self, text: str, message: str) -> None:
        configuration = read(text, samba=True)
        assert message in messages(configuration)[0]
        assert configuration.errors == []

    @pytest.mark.parametrize(
        ("line", "attribute", "value"),
        [
            ("server max protocol = NT1", "server_max_protocol", "SMB2_02"),
            ("max protocol = LANMAN1", "server_max_protocol", "SMB2_02"),
            ("protocol = coreplus", "server_max_protocol", "SMB2_02"),
            ("server signing = sometimes", "server_signing", "auto"),
            ("mangling method = hash", "mangling_method", "hash2"),
            ("netbios name = A-NAME-THAT-IS-TOO-LONG", "netbios_name", "A-NAME-THAT-IS-"),
            (f"server string = {'x' * 70}", "server_string", "x" * 63),
        ],
    )
    def test_what_cannot_be_obeyed_is_named_in_one_line(self, line: str, attribute: str, value: object) -> None:
        configuration = read(f"[global]\n{line}\n", samba=True)
        assert getattr(configuration.settings, attribute) == value
        (only,) = configuration.diagnostics
        assert only.severity is Severity.WARNING and only.line == 2

    @pytest.mark.parametrize(
        ("line", "attribute", "value"),
        [
            *((f"server max protocol = {name}", "server_max_protocol", value) for name, value in (
                ("default", "SMB3_11"), ("SMB3_11", "SMB3_11"), ("SMB3_10", "SMB3_02"), ("SMB3_02", "SMB3_02"),
                ("SMB3_00", "SMB3_00"), ("SMB3", "SMB3_11"), ("SMB2_24", "SMB2_10"), ("SMB2_22", "SMB2_10"),
                ("SMB2_10", "SMB2_10"), ("SMB2_02", "SMB2_02"), ("SMB2_FF", "SMB2_10"), ("SMB2", "SMB2_10"),
            )),
            *((f"smb encrypt = {name}", "smb3_encryption", value) for name, value in (
                ("default", "auto"), ("enabled", "auto"), ("yes", "auto"), ("if_required", "auto"),
                ("desired", "enabled"), ("required", "mandatory"), ("force", "mandatory"), ("enforced", "mandatory"),
                ("off", "disabled"), ("no", "disabled"), ("disabled", "disabled"),
            )),
            *((f"server signing = {name}", "server_signing", value) for name, value in (
                ("default", "auto"), ("on", "auto"), ("1", "auto"), ("desired", "enabled"), ("forced", "mandatory"),
                ("mandatory", "mandatory"), ("off", "disabled"), ("0", "disabled"),
            )),
        ],
    )
    def test_all_of_sambas_values(self, line: str, attribute: str, value: object) -> None:
        configuration = read(f"[global]\n{line}\n", samba=True)
        assert getattr(configuration.settings, attribute) == value
        assert configuration.diagnostics == []

    def test_a_name_that_no_share_can_have_is_left_out(self) -> None:
        configuration = read(f"[{'x' * 70}]\npath = /a\n[b]\npath = /b\n", samba=True)
        assert set(configuration.shares) == {"b", "ipc$"} and not configuration.errors
        assert "is not shared: a share's name has" in messages(configuration)[0]

    def test_the_last_value_counts(self) -> None:
        assert read("[a]\npath = /a\npath = /b\n", samba=True).shares["a"].path == "/b"

    def test_a_backslash_joins_lines_and_their_first_number_counts(self) -> None:
        configuration = read("[a]\npath = /a\nvalid users = u1 \\\n  u2\ncreate mask = x\n", samba=True)
        assert configuration.shares["a"].valid_users == ("u1", "u2")
        assert configuration.errors[0].line == 5

    def test_unsupported_parameters_are_one_warning(self) -> None:
        configuration = read("[global]\nos level = 1\nsecurity = user\n[a]\npath = /a\nos level = 3\n", samba=True)
        assert messages(configuration) == [
            "smb.conf: warning: parameters of Samba that are not supported and were ignored: "
            "os level (line 2), security (line 3)"
        ]

    @pytest.mark.parametrize("section", ["printers", "print$"])
    def test_special_sections_are_not_served(self, section: str) -> None:
        configuration = read(f"[{section}]\npath = /a\n", samba=True)
        assert section not in configuration.shares
        assert "not shared" in messages(configuration)[0]

    @pytest.mark.parametrize("line", ["printable = yes", "available = no"])
    def test_printers_and_unavailable_shares_are_not_served(self, line: str) -> None:
        assert "a" not in read(f"[a]\npath = /a\n{line}\n", samba=True).shares


@pytest.mark.parametrize("samba", [False, True])
def test_available(samba: bool) -> None:
    configuration = read("[global]\navailable = no\n[a]\npath = /a\n[b]\npath = /b\navailable = yes\n", samba=samba)
    assert set(configuration.shares) == {"b", "ipc$"} and configuration.diagnostics == []


def test_the_special_shares_of_conformance_runs_are_understood() -> None:
    lines = (
        "admin users = u",
        "acl flag inherited canonicalization = no",
        "hide unreadable = yes",
        "change notify = no",
        "kernel oplocks = yes",
        "acl_xattr:security_acl_name = user.hackme",
        "hide files = /hidefile/",
        "posix locking = yes",
        "wide links = yes",
        "hosts deny = 10.1.",
        "continuous availability = yes",
        "smb3 encryption = mandatory",
        "vfs objects = acl_xattr streams_xattr shadow_copy2",
        "shadow:snapdirseverywhere = yes",
    )
    configuration = read(
        "[global]\nworkers = 4\nbpf = no\nlookup port = 445\nntlm auth = disabled\n[s]\npath = /s\n"
        + "\n".join(lines)
        + "\n"
    )
    share = configuration.shares["s"]
    assert configuration.diagnostics == []
    assert (share.acl_xattr_security_acl_name, share.hide_files) == ("user.hackme", ("hidefile",))
    assert (share.kernel_oplocks, share.change_notify, share.smb3_encryption) == (True, False, "mandatory")


OLD = [
    ("map to guest = Bad Password", "map_to_guest", "never", True),
    ("map to guest = bad uid", "map_to_guest", "never", True),
    ("smb3 encryption = yes", "smb3_encryption", "mandatory", True),
    ("smb3 encryption = Enable", "smb3_encryption", "mandatory", True),
    ("smb3 encryption = 1", "smb3_encryption", "mandatory", True),
    ("smb3 encryption = no", "smb3_encryption", "disabled", True),
    ("smb3 encryption = false", "smb3_encryption", "disabled", True),
    ("server signing = yes", "server_signing", "enabled", False),
    ("server min protocol = NT1", "server_min_protocol", "SMB2_02", True),
    ("server min protocol = SMB2_22", "server_min_protocol", "SMB2_10", False),
    ("durable handles = enabled", "durable_handles", True, False),
    ("smb2 leases = on", "smb2_leases", True, False),
    ("smb2 leases = off", "smb2_leases", False, False),
    ("max connections = 1K", "max_connections", 1024, False),
    ("smb2 max credits = 8k", "smb2_max_credits", 8192, False),
    ("netbios name = ÄÄÄÄÄÄÄÄ", "netbios_name", "ÄÄÄÄÄÄÄ", True),
]


@pytest.mark.parametrize(("line", "attribute", "value", "warned"), OLD, ids=[line for line, *_ in OLD])
def test_values_of_older_tools_do_not_stop_the_start(line: str, attribute: str, value: object, warned: bool) -> None:
    """ksmbd-tools up to 3.4 took any text; what it meant is kept, or a warning says what is taken instead."""
    configuration = read(f"[global]\n{line}\n")
    assert configuration.errors == []
    assert getattr(configuration.settings, attribute) == value
    assert [line.partition(" =")[0] in message for message in messages(configuration)] == [True] * warned


def test_modules_that_are_not_there_are_left_out() -> None:
    configuration = read("[a]\npath = /a\nvfs objects = acl_xattr fruit recycle\n")
    assert configuration.shares["a"].vfs_objects == ("acl_xattr",)
    (message,) = messages(configuration)
    assert "warning" in message and message.endswith("left out: fruit, recycle")


@pytest.mark.parametrize("samba", [False, True])
def test_interfaces_with_options(samba: bool) -> None:
    """An item in quotes keeps its semicolon and its commas; behind it a comment is one."""
    text = '[global]\ninterfaces = lo "eth0;speed=1000,capability=RSS" "10.0.0.0/8;if_index=4"' + (
        "\n" if samba else " ; a comment\n"
    )
    configuration = parse(text, "x", samba=samba)
    assert configuration.diagnostics == []
    assert configuration.settings.interfaces == ("lo", "eth0;speed=1000,capability=RSS", "10.0.0.0/8;if_index=4")
    single = parse('[global]\ninterfaces = "eth0;speed=1,capability=RSS"\n', "x", samba=samba)
    assert single.settings.interfaces == ("eth0;speed=1,capability=RSS",)


def test_a_word_that_is_no_interface_stops_the_start() -> None:
    (error,) = read('[global]\ninterfaces = lo "eth0;speed=quick"\n').errors
    assert error.line == 2 and "speed=" in error.message


def test_quotes_protect_nothing_elsewhere() -> None:
    assert read('[a]\npath = /a\ncomment = "x" ; y "z"\n').shares["a"].comment == '"x"'
    assert read('[global]\ninterfaces = eth0" ; rest\n').settings.interfaces != ()
