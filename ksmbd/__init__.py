# SPDX-License-Identifier: GPL-2.0-or-later
"""The SMB3 engine. Each folder is one room and one debug component."""
