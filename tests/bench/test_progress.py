from __future__ import annotations

import io

from fastrtc.bench.progress import Progress, plain


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Latin(io.StringIO):
    encoding = "latin-1"


def test_where_there_is_no_terminal_each_thing_is_said_once_in_a_plain_line() -> None:
    out = io.StringIO()
    progress = Progress(10.0, out)
    for text in ("starting", "measuring", "measuring"):
        progress.tell(text)
        progress.advance(1.0)
    progress.clear()
    assert out.getvalue() == "starting\nmeasuring\n"


def test_on_a_terminal_a_bar_fills_in_one_line() -> None:
    out = Terminal()
    progress = Progress(10.0, out)
    progress.tell("measuring")
    progress.advance(5.0)
    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn[1].startswith("[" + " " * 24)
    assert drawn[2] == "[" + "█" * 12 + " " * 12 + "]  50 %  measuring"
    assert "\n" not in out.getvalue()


def test_a_bar_is_never_over_full() -> None:
    out = Terminal()
    Progress(1.0, out).advance(99.0)
    assert "100 %" in out.getvalue()


def test_the_bar_is_taken_away_for_what_follows() -> None:
    out = Terminal()
    progress = Progress(1.0, out)
    progress.tell("measuring")
    progress.clear()
    assert out.getvalue().endswith("\r\x1b[K")


def test_an_output_without_blocks_gets_other_signs() -> None:
    assert plain("█▌ 1", Latin()) == "## 1"
    assert plain("█▌ 1", Terminal()) == "█▌ 1"
