# SPDX-License-Identifier: GPL-2.0-or-later
"""The parts of ksmbd.trace (tools/trace.py): what clients and the server say to each other, a line a
command, also where it is encrypted.

    packets.py     a packet -> the TCP segment in it          capture_file.py   pcap and pcapng, read and written
    stream.py      segments -> frames (MS-SMB2 2.1)           keys.py           the keys of sessions, from the server
    sealed.py      a transform frame -> its messages          messages.py       a message -> what a line tells of it
    exchange.py    requests and replies -> Commands           known.py          sessions, shares and files by their ids
    choose.py      which Commands are wanted                  lines.py          a Command as text and as JSON
    summary.py     counts and percentiles                     detail.py         all fields of a message, by scapy
    tracer.py      packets -> Commands                        feed.py           what the running server is asked
    names.py       names of numbers on the wire
"""
