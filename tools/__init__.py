# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands: thin layers over mountd and ksmbd. Modules here do not import each other."""
