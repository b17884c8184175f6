# SPDX-License-Identifier: GPL-2.0-or-later
"""The SMB protocol without I/O: it takes received bytes, and gives replies and calls of its ports (ksmbd.smb.ports)."""
