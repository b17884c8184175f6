# SPDX-License-Identifier: GPL-2.0-or-later
"""The settings of ksmbd.conf that log-ons depend on."""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Values as ksmbd.conf spells them, in lower case."""

    netbios_name: str = "KSMBD SERVER"
    workgroup: str = "WORKGROUP"
    dns_name: str = ""
    """The host's full DNS name; '' = the NetBIOS name in lower case."""
    dns_domain: str = ""
    ntlm_auth: str = "ntlmv2-only"
    """`ntlm auth`: ntlmv2-only, ntlmv1-permitted, disabled."""
    map_to_guest: str = "never"
    """`map to guest`: never; bad user: an unknown user becomes a guest; bad password: a wrong password does too."""
    guest_account: str = "nobody"
    kerberos: bool = False
    """`kerberos support`: offer Kerberos and hand its tokens to mountd."""

    @property
    def ntlmv1_allowed(self) -> bool:
        """Whether LM, NTLM, LMv2 and NTLM2 session responses are accepted."""
        return self.ntlm_auth == "ntlmv1-permitted"

    @property
    def ntlm_allowed(self) -> bool:
        """Whether NTLM is offered at all."""
        return self.ntlm_auth != "disabled"
