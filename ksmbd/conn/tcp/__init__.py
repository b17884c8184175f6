# SPDX-License-Identifier: GPL-2.0-or-later
"""The transport Direct TCP (MS-SMB2 2.1): `Tcp` of provider.py, and all code that uses sockets of connections."""
