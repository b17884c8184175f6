# SPDX-License-Identifier: GPL-2.0-or-later
"""The file system side: path resolution, opens, attributes, streams, ACLs."""
