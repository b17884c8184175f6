# SPDX-License-Identifier: GPL-2.0-or-later
"""Log-on with NTLMSSP, SPNEGO and Kerberos, key derivation, signing and encryption."""
