# SPDX-License-Identifier: GPL-2.0-or-later
"""One open pipe: an RPC association in message mode. Bytes in, messages (one fragment each) out.

States: nothing bound, then any number of presentation contexts. What breaks the protocol answers a bind_nak or a fault
and ends the association: after it the pipe takes nothing more (C706 9.5, MS-RPCE 3.3.1.5).
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from ksmbd import limits, log
from ksmbd.smb.reader import Reader
from ksmbd.smb.status import STATUS_ACCESS_DENIED, NtStatusError, WireError
from mountd.rpc import pdu
from mountd.rpc.facts import Level, decode_share
from mountd.rpc.names import Found, Question, Unanswered
from mountd.rpc.ndr import NdrReader, NdrWriter
from mountd.rpc.pdu import Fault, Pfc, Ptype, Reason, Result
from mountd.rpc.security import BadSignature, Securities, SecurityContext, Trailer, read_trailer
from mountd.rpc.service import Caller, Interface

INPUT_MAX: Final = limits.RPC_REQUEST.value
"""Bytes of one request's stub; no operation needs as much."""
OUTPUT_MAX: Final = limits.RPC_REPLIES.value
"""Unread answers at most; more requests are refused until the client reads some."""
CONTEXTS_MAX: Final = limits.RPC_CONTEXTS.value
FEATURES: Final = 0x02
"""Bind time features: the connection survives an orphaned call (MS-RPCE 2.2.2.14)."""

_groups = itertools.count(0x1000)


class PipeBroken(Exception):
    """The association has ended; the pipe can only be closed."""


@dataclass
class _Call:
    """A request that arrives in fragments."""

    call_id: int
    context_id: int
    opnum: int
    security: SecurityContext | None = None
    """What protects it, and its response."""
    stub: bytearray = field(default_factory=bytearray)


class Pipe:
    """`write` what the client wrote, then `read` until it says that nothing is there. Where there are `questions` after
    a `write`, `resume` with the answers comes first."""

    def __init__(
        self,
        interfaces: Sequence[Interface],
        caller: Caller,
        hold: Callable[[int], bool] | None = None,
        fragment_max: int = 0,
    ) -> None:
        """`interfaces`: those of the pipe's name. `hold(bytes)` is told what the pipe holds, and says whether it may;
        None: as much as it likes. `fragment_max`: bytes of a fragment at most, of a request FRAG_MIN all
        the same; 0: what the client takes."""
        self._interfaces = interfaces
        self._name = interfaces[0].pipe
        self._caller = caller
        self._hold = hold
        self._input = bytearray()
        self._output: deque[memoryview] = deque()
        self._contexts: dict[int, Interface] = {}
        """Presentation context -> its interface."""
        self._call: _Call | None = None
        self._asking: _Call | None = None
        """The call that needs names; what comes after it waits."""
        self._security = Securities(caller.facts)
        self._logon: tuple[SecurityContext, pdu.Header, Callable[[bytes], None] | None] | None = None
        """The log-on that mountd is asked about, the PDU that it came with, and what sends the token that answers."""
        self.questions: tuple[Question, ...] = ()
        self._fragment_max = fragment_max or pdu.FRAG_MAX
        self._max_frag = self._fragment_max
        self._group = 0
        self._broken = False

    @property
    def held(self) -> int:
        """Bytes of incomplete requests and unread replies."""
        stub = sum(len(call.stub) for call in (self._call, self._asking) if call is not None)
        return len(self._input) + stub + sum(map(len, self._output))

    def write(self, data: bytes) -> None:
        """Process received bytes: a part of a PDU, or several PDUs. Raises PipeBroken."""
        if self._broken:
            raise PipeBroken
        self._input += data
        self._advance()

    def resume(self, found: Mapping[Question, Found]) -> None:
        """Go on with the call that needed names, or with the log-on."""
        call, self._asking, self.questions = self._asking, None, ()
        logon, self._logon = self._logon, None
        if call is not None:
            self._caller.names.add(found)
            self._output.extend(map(memoryview, self._run(call)))
        elif logon is not None:
            self._log_on(*logon, next(iter(found.values()), None))
        else:
            return
        self._advance()

    def _advance(self) -> None:
        """Process the received PDUs, up to a call that needs names."""
        try:
            while not self._broken and not self.questions:
                length = pdu.frag_length(self._input[: pdu.HEADER_SIZE])
                if length is None or length > len(self._input):
                    break
                fragment = bytes(self._input[:length])
                del self._input[:length]
                self._take(fragment)
        except WireError as error:
            log.peer(f"rpc {self._name}: {error}")
            self._break()
        if self._hold is not None and not self._hold(self.held):
            call_id, context_id = (self._call.call_id, self._call.context_id) if self._call is not None else (0, 0)
            self._output.clear()
            self._break()
            self._send(pdu.encode_fault(call_id, context_id, Fault.REMOTE_NO_MEMORY, executed=False))
            self._hold(self.held)

    def read(self, size: int) -> tuple[bytes, bool] | None:
        """At most `size` bytes of the message that is next, and whether more of it is there; None: there is none."""
        if not self._output:
            if self._broken:
                raise PipeBroken
            return None
        message = self._output[0]
        part = bytes(message[:size])
        more = len(part) < len(message)
        if more:
            self._output[0] = message[size:]
        else:
            self._output.popleft()
        if self._hold is not None:
            self._hold(self.held)
        return part, more

    # ------------------------------------------------------------------------------------------------------- PDUs

    def _send(self, message: bytes) -> None:
        self._output.append(memoryview(message))

    def _break(self) -> None:
        self._broken = True
        self._input = bytearray()
        self._call = self._asking = self._logon = None
        self.questions = ()

    def _take(self, fragment: bytes) -> None:
        reader = Reader(fragment)
        header = pdu.read_header(reader)
        trailer = read_trailer(fragment, header) if header.auth_length else None
        if trailer is not None:
            if self._caller.restricted:
                self._refuse(header, NtStatusError(STATUS_ACCESS_DENIED, "authentication by a guest"))
                return
            reader = Reader(fragment, pdu.HEADER_SIZE, max(trailer.end, pdu.HEADER_SIZE))
        if header.ptype in (Ptype.BIND, Ptype.ALTER_CONTEXT):
            self._bind(reader, header, trailer)
        elif header.ptype == Ptype.AUTH3:
            self._auth3(header, trailer)
        elif header.ptype == Ptype.REQUEST:
            self._request(fragment, header, trailer)
        elif header.ptype in (Ptype.ORPHANED, Ptype.CO_CANCEL):
            # A call is run as soon as it is whole: what can be given up is one that is still coming.
            if self._call is not None and self._call.call_id == header.call_id:
                self._call = None
        else:
            raise WireError(f"PDU of type {header.ptype} from a client")

    # --------------------------------------------------------------------------------------------------- security

    def _refuse(self, header: pdu.Header, error: NtStatusError) -> None:
        """Refuse a log-on or a PDU that is not protected as it must be, and end the association."""
        log.peer(f"rpc {self._name}: {error}")
        if header.ptype == Ptype.BIND:
            self._send(pdu.encode_bind_nak(header.call_id, pdu.NAK_AUTHENTICATION_TYPE))
        else:
            self._send(pdu.encode_fault(header.call_id, 0, Fault.ACCESS_DENIED, executed=False))
        self._break()

    def _auth3(self, header: pdu.Header, trailer: Trailer | None) -> None:
        """The last token of a log-on (MS-RPCE 2.2.2.10). It is not answered; after a wrong one requests are refused."""
        if trailer is None:
            raise WireError("rpc_auth_3 without a token")
        try:
            context = self._security.context(trailer, header.flags)
            step = context.step(trailer.token)
        except NtStatusError as error:
            log.peer(f"rpc {self._name}: {error}")
            return
        if isinstance(step, Question):
            self._logon, self.questions = (context, header, None), (step,)

    def _log_on(
        self, context: SecurityContext, header: pdu.Header, send: Callable[[bytes], None] | None, found: Found
    ) -> None:
        """Go on with mountd's answer to a log-on. Calls run as its account from now on."""
        try:
            token, admitted = self._security.complete(context, found)
        except NtStatusError as error:
            if send is None:
                log.peer(f"rpc {self._name}: {error}")
            else:
                self._refuse(header, error)
            return
        if admitted is not None:
            self._caller = replace(
                self._caller, level=Level(admitted.level), account=admitted.account, hidden=frozenset(admitted.hidden),
                home=decode_share(admitted.home),
            )
        if send is not None:
            send(token)

    # -------------------------------------------------------------------------------------------------------- bind

    def _bind(self, reader: Reader, header: pdu.Header, trailer: Trailer | None) -> None:
        first = header.ptype == Ptype.BIND
        if first == bool(self._group):  # a second bind, or alter_context before one
            self._send(pdu.encode_fault(header.call_id, 0, Fault.PROTO_ERROR, executed=False))
            self._break()
            return
        context: SecurityContext | None = None
        step: bytes | Question = b""
        try:
            bind = pdu.read_bind(reader)
        except WireError:
            if first:
                self._send(pdu.encode_bind_nak(header.call_id, pdu.NAK_REASON_NOT_SPECIFIED))
            raise
        if trailer is not None:
            try:
                context = self._security.context(trailer, header.flags)
                step = context.step(trailer.token)
            except NtStatusError as error:
                self._refuse(header, error)
                return
        if first:
            self._group = bind.assoc_group or next(_groups)
            agreed = max(pdu.FRAG_MIN, min(bind.max_recv_frag, pdu.FRAG_MAX))
            self._max_frag = min(agreed, self._fragment_max)
        results = [self._result(element) for element in bind.contexts]
        acknowledge = partial(self._acknowledge, header, bind, results, context)
        if isinstance(step, Question):
            assert context is not None
            self._logon, self.questions = (context, header, acknowledge), (step,)
        else:
            acknowledge(step)

    def _acknowledge(
        self, header: pdu.Header, bind: pdu.Bind, results: Sequence[tuple[Result, int, pdu.Syntax]],
        context: SecurityContext | None, token: bytes,
    ) -> None:  # fmt: skip
        first = header.ptype == Ptype.BIND
        message = pdu.encode_bind_ack(
            Ptype.BIND_ACK if first else Ptype.ALTER_CONTEXT_RESP,
            header.call_id,
            max(self._max_frag, pdu.FRAG_MIN),
            max(pdu.FRAG_MIN, min(bind.max_xmit_frag, self._fragment_max)),
            self._group,
            f"\\PIPE\\{self._name}" if first else "",
            results,
            pdu.WHOLE | header.flags & Pfc.SUPPORT_HEADER_SIGN if context is not None else pdu.WHOLE,
        )
        self._send(context.with_token(message, token) if context is not None and token else message)

    def _result(self, element: pdu.ContextElement) -> tuple[Result, int, pdu.Syntax]:
        """Accept, refuse or negotiate one presentation context (C706 12.6.3.1, MS-RPCE 3.3.1.5.3)."""
        features = pdu.feature_bits(element.transfers[0]) if len(element.transfers) == 1 else None
        if features is not None:
            return Result.NEGOTIATE_ACK, features & FEATURES, pdu.NO_SYNTAX
        wanted = element.abstract
        interface = next((each for each in self._interfaces if each.syntax.serves(wanted)), None)
        if interface is None:
            return Result.PROVIDER_REJECTION, Reason.ABSTRACT_SYNTAX_NOT_SUPPORTED, pdu.NO_SYNTAX
        if pdu.NDR32 not in element.transfers:
            return Result.PROVIDER_REJECTION, Reason.TRANSFER_SYNTAXES_NOT_SUPPORTED, pdu.NO_SYNTAX
        if len(self._contexts) >= CONTEXTS_MAX and element.context_id not in self._contexts:
            return Result.PROVIDER_REJECTION, Reason.LOCAL_LIMIT_EXCEEDED, pdu.NO_SYNTAX
        self._contexts[element.context_id] = interface
        return Result.ACCEPTANCE, Reason.NOT_SPECIFIED, pdu.NDR32

    def _request(self, fragment: bytes, header: pdu.Header, trailer: Trailer | None) -> None:
        try:
            plain, security = self._security.open(fragment, header, trailer)
        except BadSignature:
            self._send(pdu.encode_fault(header.call_id, 0, Fault.SEC_PKG_ERROR, executed=False))
            self._break()
            return
        except NtStatusError as error:
            self._refuse(header, error)
            return
        request = pdu.read_request(Reader(plain, pdu.HEADER_SIZE), header)
        if header.flags & Pfc.FIRST_FRAG:
            if self._call is not None:
                raise WireError("a call begins inside another")
            self._call = _Call(header.call_id, request.context_id, request.opnum, security)
        call = self._call
        if call is None or call.call_id != header.call_id or call.security is not security:
            raise WireError(f"a fragment of call {header.call_id}, which has not begun")
        if len(call.stub) + len(request.stub) > INPUT_MAX:
            self._send(pdu.encode_fault(call.call_id, call.context_id, Fault.REMOTE_NO_MEMORY, executed=False))
            self._break()
            return
        call.stub += request.stub
        if header.flags & Pfc.LAST_FRAG:
            self._call = None
            if len(self._output) >= OUTPUT_MAX:
                raise WireError("answers are not read")
            self._output.extend(map(memoryview, self._run(call)))

    def _run(self, call: _Call) -> list[bytes]:
        interface = self._contexts.get(call.context_id)
        if interface is None:
            return [pdu.encode_fault(call.call_id, call.context_id, Fault.UNK_IF, executed=False)]
        operation = interface.operations.get(call.opnum)
        if operation is None:
            log.peer(f"rpc {interface.pipe}: operation {call.opnum} is not served")
            return [pdu.encode_fault(call.call_id, call.context_id, Fault.OP_RNG_ERROR, executed=False)]
        writer = NdrWriter()
        try:
            operation(self._caller, NdrReader(call.stub), writer)
        except Unanswered as unanswered:
            self._asking, self.questions = call, unanswered.questions
            return []
        except WireError as error:
            log.peer(f"rpc {interface.pipe}: malformed parameters of operation {call.opnum}: {error}")
            return [pdu.encode_fault(call.call_id, call.context_id, Fault.BAD_STUB_DATA, executed=True)]
        self._caller.names.clear()
        security = call.security
        if security is None:
            return pdu.encode_response(call.call_id, call.context_id, writer.data, self._max_frag)
        parts = pdu.encode_response(call.call_id, call.context_id, writer.data, self._max_frag - security.overhead)
        return [security.seal(part) for part in parts]
