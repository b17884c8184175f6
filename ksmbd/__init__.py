# SPDX-License-Identifier: GPL-2.0-or-later
"""The SMB3 engine. Each subpackage is one area and one debug component (ARCHITECTURE.md)."""
