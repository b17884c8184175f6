# SPDX-License-Identifier: GPL-2.0-or-later
"""The netlink messages to and from mountd."""
