# SPDX-License-Identifier: GPL-2.0-or-later
"""The user-space daemon: configuration, accounts, shares, DCE/RPC, starting and stopping the engine."""
