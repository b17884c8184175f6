# SPDX-License-Identifier: GPL-2.0-or-later
"""NTLMSSP, SPNEGO, key derivation, signing and encryption."""
