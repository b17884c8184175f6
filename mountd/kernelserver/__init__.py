# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own server, ksmbd.ko, as the engine (`ksmbd.mountd --engine=kernel`)."""
