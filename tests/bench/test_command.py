from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fastrtc.bench.caller import reason
from fastrtc.bench.server import listen
from fastrtc.cli import main


def exit_code(*arguments: str) -> object:
    with pytest.raises(SystemExit) as e:
        main(["bench", *arguments])
    return e.value.code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--calls", "ten"], "numbers such as 1,10,20, got 'ten'"),
        (["--calls", "1,,2"], "numbers such as"),
        (["--calls", ""], "numbers such as"),
        (["--calls", "0,5"], "from 1 to 1000"),
        (["--calls", "9999"], "from 1 to 1000"),
        (["--seconds", "soon"], "seconds from 1 to 600, got 'soon'"),
        (["--seconds", "nan"], "seconds from"),
        (["--seconds", "1e9"], "seconds from"),
        (["--server-core", "100000"], "core"),
        (["--caller-core", "-1"], "core"),
        (["--port", "65536"], "port from 0 to 65535"),
        (["--port", "http"], "port from"),
        (["--plot", "no/such/folder/plot.svg"], "cannot be written"),
        (["--json", "."], "cannot be written"),
        (["--handler", "sing"], "invalid choice"),
        (["--handler", "echo", "app:stream"], "leave it out"),
    ],
)
def test_bad_options_are_refused_in_words_before_anything_is_started(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*arguments) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("other = 1", "expected a fastrtc.Stream named 'stream'"),
        ("raise ValueError('broken')", "ValueError: broken"),
    ],
)
def test_a_module_without_a_stream_ends_it_with_1_and_the_reason(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "app.py"
    place.write_text(text)
    assert exit_code("--quick", f"{place}:stream") == 1
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_refused_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match=f"Port {port} of 127.0.0.1 cannot be used"):
            listen(port)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"status": "failed", "meta": {"error": "concurrency_limit_reached"}}, "concurrency"),
        ({"detail": "Not Found"}, "Not Found"),
        ({"meta": None}, "meta"),
        (["no"], "no"),
        (None, "None"),
    ],
)
def test_a_refusal_of_any_form_becomes_a_reason(answer: object, said: str) -> None:
    assert said in reason(answer)


def test_other_commands_do_not_import_it() -> None:
    code = (
        "import sys, fastrtc.cli\n"
        "try: fastrtc.cli.main(['models'])\n"
        "except SystemExit: pass\n"
        "print([name for name in sys.modules if name.startswith('fastrtc.bench')])"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output.splitlines()[-1] == "[]"
