# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages between the engine and ksmbd.mountd, over netlink."""
