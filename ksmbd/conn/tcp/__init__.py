# SPDX-License-Identifier: GPL-2.0-or-later
"""Direct TCP (MS-SMB2 2.1): the transport `Tcp` of provider.py, and all that knows of sockets of connections."""
