# SPDX-License-Identifier: GPL-2.0-or-later
"""DCE/RPC over named pipes: connection-oriented PDUs (C706 12, MS-RPCE 2.2.2), NDR, and one module a service."""
