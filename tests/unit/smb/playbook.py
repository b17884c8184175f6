# SPDX-License-Identifier: GPL-2.0-or-later
"""A script of what a client, the clock and the open table do, and of all that the server must call and send then.

One list holds the order over all ports (ksmbd.smb.ports) and connections:

    play >> alice.create("new", disposition=c.FILE_CREATE)
    play << call(volume.create, some(CreateIntent, name="new")).gives(file.made())
    play << call(table.open, some(OpenRequest, ref=ref, created=True)).gives(OpenGrant(0))
    play << alice.created(c.FILE_CREATED, file_id=file_id)

`>>` is an act that the script carries out, `<<` is what must happen because of it, with the answer that the script
gives the server: `gives` a value, `refuses` with an NTSTATUS, `pends` until a later act completes it. `play` runs the
list. Where the server differs, AssertionError shows the script with what was missed (-) and what happened instead (+);
so it does where something is left at the end. The scripted ports are in scripted_ports.py.

Arguments: `some(KIND, field=...)` compares the fields that are named; `unknown(KIND, name)` takes what comes first, and
stands for that value from then on, in acts and answers too.
"""
from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from ksmbd.overriding import override
from ksmbd.smb.constants import COMMAND_NAMES
from ksmbd.smb.status import NtStatusError, status_name
from ksmbd.smb.waiting import Future

P = ParamSpec("P")
T = TypeVar("T")

SHOWN_BYTES: Final = 16
"""Longer strings of bytes are cut in what a failure shows."""
SHOWN_FIELD: Final = 120
"""So are records with longer texts, within others and as answers."""


class Departure(BaseException):
    """The server called something that the script has no answer for. No handler of errors may swallow it."""


# ----------------------------------------------------------------------------------------------------------- arguments


class Unknown:
    """What `unknown` returns, in truth."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bound = False
        self.value: object = None


class Some:
    """What `some` returns, in truth."""

    def __init__(self, kind: type, fields: dict[str, object]) -> None:
        self.kind = kind
        self.fields = fields


def unknown(kind: type[T], name: str = "") -> T:
    """A value that the server chooses (a FileId, a MessageId, a key): the first one that is met here is its value from
    then on. Without a name: any value."""
    return cast(T, Unknown(name or f"any {kind.__name__}"))


def some(kind: type[T], **fields: object) -> T:
    """Any `kind` (a dataclass or named tuple) whose fields named here have these values."""
    known = set(getattr(kind, "_fields", ())) | {field.name for field in dataclasses.fields(cast(Any, kind))}
    if strange := sorted(set(fields) - known):
        raise TypeError(f"{kind.__name__} has no {', '.join(strange)}")
    return cast(T, Some(kind, fields))


def bind(name: T, value: T) -> None:
    """What `unknown` gave stands for this value from now on."""
    assert isinstance(name, Unknown)
    name.bound, name.value = True, value


def value_of(value: T) -> T:
    """The value with all that is unknown in it replaced by what was met; Departure where nothing has been met yet."""
    return cast(T, _resolve(value))


def _resolve(value: object) -> object:
    if isinstance(value, Unknown):
        if not value.bound:
            raise Departure(f"<{value.name}> is not known yet")
        return value.value
    if isinstance(value, tuple):
        parts = [_resolve(part) for part in value]
        return cast(Any, type(value))(*parts) if hasattr(value, "_fields") else tuple(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and not _is_record(value):
        for field in dataclasses.fields(value):
            old = getattr(value, field.name)
            new = _resolve(old)
            if new is not old and new != old:
                value = dataclasses.replace(value, **{field.name: new})
    return value


def _match(expected: object, actual: object, met: dict[Unknown, object]) -> bool:
    """Whether a value is what the script expects; `met` takes in what stands for an Unknown."""
    if isinstance(expected, Unknown):
        if expected.bound or expected in met:
            return _match(expected.value if expected.bound else met[expected], actual, met)
        if not expected.name.startswith("any "):
            met[expected] = actual
        return True
    if isinstance(expected, Some):
        return isinstance(actual, expected.kind) and all(
            _match(value, getattr(actual, name), met) for name, value in expected.fields.items()
        )
    if isinstance(expected, tuple) and isinstance(actual, tuple):
        return len(expected) == len(actual) and all(
            _match(one, other, met) for one, other in zip(expected, actual, strict=True)
        )
    if type(expected) is type(actual) and dataclasses.is_dataclass(expected) and not _is_record(expected):
        fields = dataclasses.fields(expected)
        return all(_match(getattr(expected, f.name), getattr(actual, f.name), met) for f in fields)
    return expected is actual or expected == actual


def show(value: object) -> str:
    """A value as a failure shows it."""
    if isinstance(value, Unknown):
        return f"<{value.name}>"
    if isinstance(value, Some):
        return f"{value.kind.__name__}({_pairs(value.fields)}, ...)"
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return repr(data if len(data) <= SHOWN_BYTES else data[:SHOWN_BYTES] + b"...")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({_pairs(cast(Any, value)._asdict())})"
    if isinstance(value, tuple):
        return f"({', '.join(map(show, value))})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if _is_record(value):
            return type(value).__name__
        return f"{type(value).__name__}({_pairs(_told(value))})"
    if callable(value):
        return "<call>"
    return str(value) if isinstance(value, Named) else repr(value)


def _is_record(value: object) -> bool:
    """Whether it is one of the server's (an Open): the same one or another, whatever is in it."""
    return type(value).__eq__ is object.__eq__


def _told(value: object) -> dict[str, object]:
    """The fields of a dataclass that are not at their defaults."""
    fields = dataclasses.fields(cast(Any, value))
    return {f.name: v for f in fields if (v := getattr(value, f.name)) != f.default or f.name == "status"}


def _pairs(fields: dict[str, object]) -> str:
    return ", ".join(f"{name}={_named(name, value)}" for name, value in fields.items())


def _named(field: str, value: object) -> str:
    if field == "status" and isinstance(value, int):
        return status_name(value)
    return COMMAND_NAMES[value] if field == "command" and isinstance(value, int) else _short(value)


def _short(value: object) -> str:
    """A field's value, without its own fields where those are many."""
    text = show(value)
    return text if len(text) <= SHOWN_FIELD or not text.endswith(")") else f"{text[: text.index('(')]}(...)"


def _as_seen_by(expected: object, actual: object) -> str:
    """An argument that differs, shown with no more fields than the script names."""
    if isinstance(expected, Some) and isinstance(actual, expected.kind):
        seen: dict[str, object] = {}
        for name, value in expected.fields.items():
            other = getattr(actual, name)
            seen[name] = other if name == "status" else _Shown(_as_seen_by(value, other))
        return f"{expected.kind.__name__}({_pairs(seen)}, ...)"
    if isinstance(expected, Unknown) and not expected.bound:
        return show(expected)
    return show(actual)


class _Shown:
    def __init__(self, text: str) -> None:
        self._text = text

    @override
    def __repr__(self) -> str:
        return self._text


# --------------------------------------------------------------------------------------------------------------- steps


class Named:
    """A port, a file, a connection, as failures call it."""

    def __init__(self, name: str) -> None:
        self.name = name

    @override
    def __str__(self) -> str:
        return self.name


class Act:
    """`>>`: what the script does to the server."""

    def __init__(self, text: str, do: Callable[[], None]) -> None:
        self.line = f">> {text}"
        self.do = do


class Call(Generic[T]):
    """`<<`: what the server must call or send next, and what it is answered."""

    def __init__(self, owner: Named, method: str, arguments: tuple[object, ...], future: bool, empty: bool) -> None:
        self._owner = owner
        self._method = method
        self._arguments = arguments
        self._future = future
        self.complete = empty
        """It has an answer."""
        self._answer: Callable[[], object] = (lambda: Future.of(None)) if future else (lambda: None)
        self._note = ""
        self._act: Act | None = None

    @property
    def line(self) -> str:
        """As failures show it."""
        note = self._note if self._act is None else f"{self._note}, and first {self._act.line}"
        return _line(self._owner, self._method, ", ".join(map(show, self._arguments)), note)

    def gives(self, value: T) -> Call[T]:
        """The server gets this value."""

        def answer() -> object:
            known = value_of(value)
            return Future.of(known) if self._future else known

        return self._answered(answer, f" gives {_short(value)}")

    def refuses(self, status: int) -> Call[T]:
        """The server gets NtStatusError; of a method that may take long, as its Future's."""

        def answer() -> object:
            if self._future:
                return Future.failed(NtStatusError(status))
            raise NtStatusError(status)

        return self._answered(answer, f" refuses {status_name(status)}")

    def pends(self, later: Later[T]) -> Call[T]:
        """The server waits until an act of `later` completes it."""
        assert self._future, f"{self._method} cannot wait"
        return self._answered(later.begin, f" pends: {later}")

    def does(self, act: Act) -> Call[T]:
        """Before the server gets the answer, this comes of its call; what happens then are the next steps."""
        self._act = act
        return self

    def _answered(self, answer: Callable[[], object], note: str) -> Call[T]:
        assert not self._note, "a second answer"
        self.complete, self._answer, self._note = True, answer, note
        return self

    # --- for the Playbook

    def is_call_of(self, owner: Named, method: str) -> bool:
        """Whether this is about the same method of the same object, whatever its arguments."""
        return self._owner is owner and self._method == method

    def meets(self, owner: Named, method: str, arguments: tuple[object, ...]) -> bool:
        """Whether what happened is this step; if so, what was unknown in it is known now."""
        met: dict[Unknown, object] = {}
        if not self.is_call_of(owner, method) or not _match(self._arguments, arguments, met):
            return False
        for name, value in met.items():
            bind(cast(object, name), value)
        return True

    def differing(self, arguments: tuple[object, ...]) -> str:
        """The line of the same call with other arguments."""
        shown = map(_as_seen_by, self._arguments, arguments)
        return _line(self._owner, self._method, ", ".join(shown), self._note)

    def answer(self) -> object:
        """What the server gets. Raises what it is refused with."""
        if self._act is not None:
            self._act.do()
        return self._answer()


def _line(owner: Named, method: str, arguments: str, note: str = "") -> str:
    return f"<< {owner}.{method}({arguments}){note}"


@overload
def call(method: Callable[P, Future[T]], *args: P.args, **kwargs: P.kwargs) -> Call[T]: ...
@overload
def call(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Call[T]: ...
def call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Call[Any]:
    """The server calls this method of a scripted port with these arguments."""
    owner = method.__self__  # type: ignore[attr-defined]
    signature = inspect.signature(method)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    returns = str(signature.return_annotation)
    return Call(owner, method.__name__, bound.args, returns.startswith("Future["), returns in ("None", "Future[None]"))


class Later(Named, Generic[T]):
    """An answer that an act gives, or that the server ceases to wait for."""

    def __init__(self, play: Playbook, name: str) -> None:
        super().__init__(name)
        self._play = play
        self.future: Future[T] | None = None

    def begin(self) -> Future[T]:
        """The server waits from now on."""
        assert self.future is None, f"{self} pends twice"
        future = self.future = Future()
        future.on_cancel = lambda: self._play.happens(self, "cancelled", ())
        self._play.left[self] = lambda: f"{self} is pending" if not future.done else ""
        return future

    def _waiting(self) -> Future[T]:
        assert self.future is not None, f"{self} does not pend"
        return self.future

    def comes(self, value: T) -> Act:
        """The value is there."""
        return Act(f"{self} comes: {show(value)}", lambda: self._waiting().set_result(value_of(value)))

    def fails(self, status: int) -> Act:
        """It fails with this NTSTATUS."""
        return Act(f"{self} fails: {status_name(status)}", lambda: self._waiting().set_error(NtStatusError(status)))

    def cancelled(self) -> Call[None]:
        """The server waits no longer, and says so."""
        return Call(self, "cancelled", (), False, True)


# ------------------------------------------------------------------------------------------------------------ the list


class Step(Protocol):
    """A line of the script."""

    @property
    def line(self) -> str: ...


class Playbook:
    """The script, and its course."""

    def __init__(self) -> None:
        self.steps: list[Act | Call[Any]] = []
        self.left: dict[object, Callable[[], str]] = {}
        """What must not be left at the end: each says what it is, '' where it is not left."""
        self._standing: dict[tuple[Named, str], Callable[..., object]] = {}
        self._aside = False
        self._expected: list[Call[Any]] = []
        self._happened: list[str] = []
        self._departed = False
        self._dead = False
        self._over = False

    def __rshift__(self, act: Act) -> Playbook:
        self.steps.append(act)
        return self

    def __lshift__(self, expected: Call[Any]) -> Playbook:
        assert expected.complete, f"what does it give? {expected.line}"
        self.steps.append(expected)
        return self

    def may_leave(self, what: object) -> Playbook:
        """This is right to be left at the end."""
        self.left[what] = lambda: ""
        return self

    # -------------------------------------------------------------------------------------------- answers aside

    def standing(self, method: Callable[P, T], answer: Callable[P, T]) -> None:
        """What a port answers while something is done `aside`."""
        self._standing[cast(Any, method).__self__, cast(Any, method).__name__] = answer

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What has a standing answer is no part of the script meanwhile: the ways of a log-on."""
        self._aside = True
        try:
            yield
        finally:
            self._aside = False

    # --------------------------------------------------------------------------------------------------- playing

    def happens(self, owner: Named, method: str, arguments: tuple[object, ...]) -> Any:
        """The server does something: its answer. Raises what it is refused with; Departure where there is none."""
        if self._aside and (standing := self._standing.get((owner, method))) is not None:
            return standing(*arguments)
        if self._over:
            raise GeneratorExit  # what still waited is thrown away with the server
        if self._dead:
            raise Departure
        for index, step in enumerate(self._expected):
            if step.meets(owner, method, arguments):
                self._departed = self._departed or index > 0
                del self._expected[index]
                self._happened.append(step.line)
                return step.answer()
        self._departed = True
        if self._expected and self._expected[0].is_call_of(owner, method):
            step = self._expected.pop(0)
            line = step.differing(arguments)
            self._happened.append(line if line != step.line else f"{line} (another)")
            return step.answer()
        self._happened.append(_line(owner, method, ", ".join(map(show, arguments))))
        self._dead = True
        raise Departure

    def play(self) -> None:
        """Carry out the script. Raises AssertionError where the server differs, and where something is left."""
        try:
            self._play(list(self.steps))
        finally:
            self._over = True

    def _play(self, steps: list[Act | Call[Any]]) -> None:
        before: list[str] = []
        while steps:
            act = steps.pop(0)
            assert isinstance(act, Act), "a script begins with an act"
            run: list[Call[Any]] = []
            while steps and isinstance(step := steps[0], Call):
                run.append(step)
                del steps[0]
            self._expected, self._happened = list(run), []
            try:
                act.do()
            except Departure as error:
                self._departed = True
                if str(error):
                    self._happened.append(f"<< {error}")
            except Exception:
                if not self._departed:  # else what the act itself expects is missing, too
                    raise
            if self._departed or self._expected:
                raise AssertionError(self._difference(before, act, run, len(steps)))
            before += [act.line, *(step.line for step in run)]
        self._expected, self._happened = [], []
        if found := [text for what in self.left.values() if (text := what())]:
            raise AssertionError("\n".join(["at the end of the script something is left:", *found]))

    def _difference(self, before: list[str], act: Act, run: list[Call[Any]], rest: int) -> str:
        lines = ["the server does not follow the script (- in the script, + what happened):"]
        lines += [f"  {line}" for line in [*before, act.line]]
        expected = [step.line for step in run]
        compared = list(difflib.unified_diff(expected, self._happened, n=len(expected) + len(self._happened)))[3:]
        lines += [f"{line[0]} {line[1:]}" for line in compared]
        return "\n".join([*lines, f"  ({rest} steps to come)"])
