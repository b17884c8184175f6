# SPDX-License-Identifier: GPL-2.0-or-later
"""The protocol, sans-IO: bytes in, replies and actions out."""
