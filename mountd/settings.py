# SPDX-License-Identifier: GPL-2.0-or-later
"""The typed settings: one field for each parameter in mountd/parameters.py; a test compares them."""

from __future__ import annotations

import os.path
from dataclasses import dataclass


@dataclass(frozen=True)
class GlobalSettings:
    """The parameters of [global]. Sizes are in bytes, `deadtime` is in minutes, `ipc_timeout` in seconds."""

    audit_file: str
    bind_interfaces_only: bool
    bpf: bool
    data_paths: tuple[str, ...]
    deadtime: int
    durable_handles: bool
    guest_account: str
    host_msdfs: bool
    interfaces: tuple[str, ...]
    ipc_timeout: int
    kerberos_keytab_file: str
    kerberos_method: str
    kerberos_service_name: str
    kerberos_support: bool
    log_file: str
    log_level: str
    lookup_port: int
    mangle_prefix: int
    mangling_method: str
    map_to_guest: str
    max_active_sessions: int
    max_connections: int
    max_ip_connections: int
    max_log_size: int
    max_open_files: int
    min_domain_uid: int
    netbios_name: str
    ntlm_auth: str
    pam_password_change: bool
    restrict_anonymous: int
    root_directory: str
    server_max_protocol: str
    server_min_protocol: str
    server_multi_channel_support: bool
    server_signing: str
    server_string: str
    share_fake_fscaps: int
    smb2_leases: bool
    smb2_max_credits: int
    smb2_max_read: int
    smb2_max_trans: int
    smb2_max_write: int
    smb3_encryption: str
    smbd_max_io_size: int
    tcp_port: int
    trace_keys: bool
    tune_networks: tuple[str, ...]
    unix_password_sync: bool
    username_map: str
    username_map_cache_time: int
    username_map_script: str
    workers: int
    workgroup: str


@dataclass(frozen=True)
class ShareSettings:
    """The parameters of one share. `name` is as written in the file; `read_only` includes writable, writeable and
    write ok."""

    name: str
    access_based_share_enum: bool
    acl_flag_inherited_canonicalization: bool
    acl_map_full_control: bool
    acl_xattr_security_acl_name: str
    admin_users: tuple[str, ...]
    available: bool
    browseable: bool
    case_sensitive: str
    catia_mappings: str
    change_notify: bool
    comment: str
    continuous_availability: bool
    create_mask: int
    crossmnt: bool
    default_case: str
    delete_readonly: bool
    delete_veto_files: bool
    directory_mask: int
    dos_filemode: bool
    ea_support: bool
    follow_symlinks: bool
    force_create_mode: int
    force_directory_mode: int
    force_group: str
    force_user: str
    guest_account: str
    guest_ok: bool
    guest_only: bool
    hide_dot_files: bool
    hide_files: tuple[str, ...]
    hide_special_files: bool
    hide_unreadable: bool
    hide_unwriteable_files: bool
    hosts_allow: tuple[str, ...]
    hosts_deny: tuple[str, ...]
    inherit_acls: bool
    inherit_owner: str
    inherit_permissions: bool
    invalid_users: tuple[str, ...]
    kernel_oplocks: bool
    mangled_names: str
    map_archive: str
    map_hidden: bool
    map_readonly: str
    map_system: bool
    max_connections: int
    msdfs_proxy: str
    msdfs_root: bool
    nt_acl_support: bool
    oplocks: bool
    path: str
    posix_locking: str
    preserve_case: bool
    read_list: tuple[str, ...]
    read_only: bool
    shadow_basedir: str
    shadow_crossmountpoints: bool
    shadow_delimiter: str
    shadow_format: str
    shadow_localtime: bool
    shadow_mountpoint: str
    shadow_snapdir: str
    shadow_snapdirseverywhere: bool
    shadow_snapprefix: str
    shadow_snapsharepath: str
    shadow_sort: str
    shadow_sscanf: bool
    short_preserve_case: bool
    smb3_encryption: str
    snapshot_path: str
    store_dos_attributes: bool
    streams_xattr_max_xattrs_per_stream: int
    valid_users: tuple[str, ...]
    veto_files: tuple[str, ...]
    vfs_objects: tuple[str, ...]
    wide_links: bool
    write_list: tuple[str, ...]

    @property
    def is_ipc(self) -> bool:
        """Whether this is IPC$, which has named pipes and no files."""
        return self.name.lower() == "ipc$"

    @property
    def writeable(self) -> bool:
        """The opposite of `read_only`."""
        return not self.read_only

    @property
    def acl_xattr(self) -> bool:
        """Whether Windows' access control lists are stored."""
        return "acl_xattr" in self.vfs_objects

    @property
    def streams_xattr(self) -> bool:
        """Whether named streams are stored."""
        return "streams_xattr" in self.vfs_objects

    @property
    def character_mappings(self) -> str:
        """The value of `catia:mappings` where it counts."""
        return self.catia_mappings if "catia" in self.vfs_objects else ""

    @property
    def snapshots(self) -> str:
        """Folder and format of the snapshots, with a slash between; empty: none are offered."""
        if not self.snapshot_path:
            return f"{self.shadow_snapdir}/{self.shadow_format}" if "shadow_copy2" in self.vfs_objects else ""
        if "%" in self.snapshot_path or "*" in self.snapshot_path:
            return self.snapshot_path if "/" in self.snapshot_path else f"./{self.snapshot_path}"
        return f"{self.snapshot_path.rstrip('/')}/{self.shadow_format}"

    def full_path(self, settings: GlobalSettings) -> str:
        """The shared directory, with `root directory` prepended."""
        if not settings.root_directory:
            return self.path
        return os.path.join(settings.root_directory, self.path.lstrip("/"))
