# SPDX-License-Identifier: GPL-2.0-or-later
"""What ksmbd.control prints: answers of the running daemon, and what a configuration means."""
