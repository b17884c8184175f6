# SPDX-License-Identifier: GPL-2.0-or-later
"""What servers smbtorture's tests want: each name has one meaning, and stands in `smbtorture.tsv` beside its tests."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MODULES = "acl_xattr streams_xattr"


@dataclass(frozen=True)
class Configuration:
    """A share's parameters, beside those that all shares have; parameters of [global]; the file system of the shares,
    '' for any. A configuration that names only a share is one of the plain server's shares."""

    meaning: str
    share: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    file_system: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the plain server serves it, on a file system of the right kind."""
        return not self.options

    @property
    def server(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Equal for all that one server serves."""
        return self.file_system, tuple(sorted(self.options.items()))


CONFIGURATIONS = {
    "plain": Configuration("leases, durable handles, channels; access control lists and streams kept"),
    "admin": Configuration("the user is an administrator of the share", {"admin users": "USER"}),
    "canon": Configuration("inherited entries are not marked", {"acl flag inherited canonicalization": "no"}),
    "hideunread": Configuration("what the user may not read is not listed", {"hide unreadable": "yes"}),
    "ca": Configuration("persistent handles", {"continuous availability": "yes"}),
    "nochange": Configuration("no change notifications", {"change notify": "no"}),
    "kernel_oplocks": Configuration("oplocks that local processes break", {"kernel oplocks": "yes"}),
    "nostreams": Configuration("no streams", {"vfs objects": "acl_xattr"}),
    "ea": Configuration("descriptors in another attribute", {"acl_xattr:security_acl_name": "user.hackme"}),
    "dosmode": Configuration("a name that is hidden", {"hide files": "/hidefile/"}),
    "snapshots": Configuration(
        "previous versions", {"vfs objects": f"{MODULES} shadow_copy2", "shadow:snapdirseverywhere": "yes"}
    ),
    "short-names": Configuration("8.3 names beside the long ones", options={"mangled names": "yes"}),
    "kerberos": Configuration("log-ons with a ticket of a realm", options={"kerberos support": "yes"}),
    "signing": Configuration("unsigned requests refused", options={"server signing": "mandatory"}),
    "btrfs": Configuration("extents that are shared, compression", file_system="btrfs"),
    "xfs": Configuration("extents that are shared", file_system="xfs"),
}
"""The value USER is the user's name."""
SPECIAL = {name: one.share for name, one in CONFIGURATIONS.items() if one.share}
"""The shares that have parameters of their own."""
NO_PERMISSION = "noperm"
"""A share whose folder nobody may enter, beside those on which tests run."""
