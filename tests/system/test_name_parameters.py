# SPDX-License-Identifier: GPL-2.0-or-later
"""The parameters of a share that decide on names, value by value, beside a real smbd on the same folder.

What differs on purpose is not among the rows: names that Windows cannot have are shown with characters of the private
use area, and by Samba by their short names or as they are; without short names a long name has none, and Samba tells
its first twelve characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from beside_samba import NAMES, OURS, SAMBA, Beside, beside, missing
from permission_rows import Row, compare
from unixusers import people

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")]

PLAIN = {"vfs objects": "", "map archive": "no"}
LONG, SHORT = "longfilename.txt", "LNHQX6~C.TXT"
THERE = ("file Name 0666", "file name.txt 0666", "dir Folder 0777", "file Folder/Below 0666", f"file {LONG} 0666")


def rows() -> Iterator[Row]:
    look = "alice: ls n*; ls NAME; get NAME /dev/null; get folder/BELOW /dev/null; ls F*; rm NAME.TXT; ls folder/*"
    archive = "alice: setmode Name +a; setmode name.txt +a; setmode longfilename.txt +a"  # as a rename does by Samba
    make = (
        archive,
        "alice: put f NEW.TXT; put f NewLongFileName; mkdir MadeFolder; put f MADEFOLDER/Below; mkdir DIR",
        "alice: rename Name OtherLongName; rename name.txt OTHER.TXT; rename Folder FOLDER; rename NEW.TXT New.Txt",
        "alice: put f NAME2; put f name2; put f Name2; ls *2",
    )
    for value in ("auto", "yes", "no"):
        yield Row(f"case-sensitive-{value}", {**PLAIN, "case sensitive": value}, THERE, (look, *make))
        for which, veto in {"one": "Name", "many": "NAME*"}.items():
            lines = {**PLAIN, "case sensitive": value, "veto files": f"/{veto}/", "hide files": "/folder/"}
            yield Row(f"veto-{which}-{value}", lines, THERE, (look, "alice: put f NAME; put f name3"))
    for keep in ("yes", "no"):
        for short in ("yes", "no"):
            for case in ("lower", "upper"):
                lines = {**PLAIN, "preserve case": keep, "short preserve case": short, "default case": case}
                yield Row(f"preserve-{keep}-{short}-{case}", lines, THERE, make)
    for value in ("yes", "no", "illegal"):
        by_short = (
            archive,
            f"alice: get {SHORT} /dev/null; ls {SHORT}; ls L*~*; get {SHORT.lower()} /dev/null; put f A~B",
            f"alice: rename A~B {SHORT}; rename {SHORT} other; ls",
            "alice: mkdir longfoldername; put f longfoldername/longfilename; ls LO*~*",
            "alice: rm L0VU6H~Z; rm nothing~1.txt; get NOTHIN~1.TXT /dev/null; get NN/NOTHIN~1 /dev/null",
        )
        yield Row(f"mangled-{value}", {**PLAIN, "mangled names": value}, THERE, by_short)
    deletes = ("alice: rmdir Folder; ls", "alice: ls Folder/*; rmdir Empty; ls")
    there = (*THERE, "dir Folder/Sub 0777", "file Folder/Sub/Veto 0666", "dir Empty 0777", "file Empty/Veto 0666")
    for value in ("yes", "no"):
        lines = {**PLAIN, "delete veto files": value, "veto files": "/Veto/Below/Sub/"}
        yield Row(f"delete-veto-{value}", lines, there, deletes)
    yield from catia()
    for length in (254, 255, 256):
        for letter in ("x", "ä"):
            name, other = letter * length, letter * (length // 2)
            steps = (f"alice: put f {name}; mkdir {other}; get {name} /dev/null",)
            yield Row(f"length-{length}-{letter}", PLAIN, (), steps)


def catia() -> Iterator[Row]:
    """Characters that are mapped."""
    there = ("file a:b 0666", 'file a"b.txt 0666', "file x|y 0666", "dir q? 0777", "file q?/*below* 0666")
    steps = (
        "alice: get a÷b /dev/null; get A÷B /dev/null; put f n÷¦; ls *÷*; ls a÷b; ls a*; rm x¦y; ls q¿/*; ls q¿/¤*",
        "alice: setmode a÷b +a; rename a÷b c¤d; mkdir q¿/«new»; put f q¿/«new»/¨; rename q¿ r¿",
        "alice: put f bad:name; get lit÷x /dev/null",
    )
    mappings = "0x22:0xa8,0x2a:0xa4,0x2f:0xf8,0x3a:0xf7,0x3c:0xab,0x3e:0xbb,0x3f:0xbf,0x5c:0xff,0x7c:0xa6"
    for value in ("yes", "no"):
        lines = {"vfs objects": "catia", "map archive": "no", "mangled names": value, "catia:mappings": mappings}
        told = ("alice: altname c¤d; altname a¨b.txt; allinfo c¤d",) if value == "yes" else ()
        yield Row(f"catia-{value}", lines, there, (*steps, *told))


ROWS = {row.name: row for row in rows()}
KEPT = [
    "a_very_long_name.bin", "with space", "a.b.c", ".hidden", ".bashrc.swp", " lead", "a  b", "x.html",
    "x.tar.gz", "a+b", "a,b", "a=b", "a[b]", "x!y", "a{b}", "ä", "äöü.txt", "übung macht den meister.doc",
    "日本語", "日本語の長い名前.txt", "😀.txt", "x.日本", "straße.txt", "ÿ.txt", "ǆ long", "ǅ long", "ɐ long",
    "ﬁle long.txt", "µ long", "ς long", "ſ long", "com5", "COM9.txt", "auxiliary", "clock$", "LONGNA~1.TXT",
    "A~B", "long_name~1.txt", "file.t x", "longer.t!x", "longer name.a-b", "longer name.$$$",
    "a" * 200 + ".txt", "z" * 255, "ä" * 127, "n\u0303ame", "..abc", "abc..txt",
]  # fmt: skip
"""Names that both servers show as they are."""
PREFIXES = ("1", "3", "6")


@pytest.fixture(scope="module")
def both() -> Iterator[Beside]:
    with people() as them:
        with beside(them, more={row.name: row.lines for row in ROWS.values()}) as result:
            (result.folder / "f").write_text("x")
            yield result


@pytest.mark.parametrize("name", ROWS)
def test_a_parameter_means_what_it_means_to_samba(both: Beside, name: str) -> None:
    difference = compare(both, ROWS[name])
    assert not difference, f"ROW {name} {ROWS[name].lines}\n{difference}"


def test_short_names_are_those_of_samba(both: Beside) -> None:
    """FileAlternateNameInformation, and what opens by it."""
    share = "mangled-yes"
    folder = both.folder / share / "alternate"
    folder.mkdir()
    folder.chmod(0o777)
    for name in KEPT:
        (folder / name).write_text(name)
        (folder / name).chmod(0o666)
    told: dict[str, dict[str, str]] = {"Samba": {}, "ours": {}}
    for name in KEPT:
        for server in (SAMBA, OURS):
            text = both.client(server, f'altname "alternate/{name}"', both.people.alice, share)
            told[NAMES[server]][name] = text.strip()
    assert told["ours"] == told["Samba"]
    made = [short for name, short in told["ours"].items() if short != name]
    form = re.compile(r"[A-Z0-9_$~-]{6}~[A-Z0-9](\.[A-Z0-9_$~-]{1,3})?")
    assert len(made) > 30 and all(map(form.fullmatch, made))
    for name, short in told["ours"].items():
        shown = both.client(OURS, f'get "alternate/{short}" -', both.people.alice, share)
        assert name in shown, (name, short, shown)
