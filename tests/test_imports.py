"""The house: imports point one way, and importing costs little."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "fastrtc"

# A room may import the rooms that stand before it, and its own; nothing else.
ROOMS = [
    "metrics",
    "tracing",
    "audio",
    "turns",
    "threads",
    "messages",
    "context",
    "errors",
    "clock",
    "web_service",
    "turn_servers",
    "models",
    "handlers",
    "runtime",
    "configuration",
    "outputs",
    "session",
    "admission",
    "elsewhere",
    "transports",
    "telephones",
    "stream",
    "routes",
    "ui",
    "prometheus",
    "server",
    "demo",
    "utils",
    "testing",
    "loading",
    "bench",
    "models_command",
    "cluster",
    "cli",
]
PURE = {"audio", "turns"}
"""Rooms that import nothing of ours."""
FORBIDDEN = {
    ("models", "turns"),
    ("models", "messages"),
    ("handlers", "clock"),
    ("transports", "models"),
    ("transports", "handlers"),
    ("transports", "turns"),
}
"""What the order would allow, and the house does not."""
NO_CLOCKS = {"asyncio", "threading", "time", "datetime"}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path, *, lazy: bool) -> Iterator[str]:
    """Dotted names that a module imports: at its top, and inside functions if ``lazy``."""
    tree = ast.parse(path.read_text())
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        typing_only = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        inner = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not lazy
        if typing_only or inner:
            skipped |= set(ast.walk(node))
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    # `Stream.mount`, `run` and `ui` make what serves a stream, and a model with `where="cluster"`
    # asks the tier of one: arrows back, taken when called.
    back = {
        ("stream", "routes"),
        ("stream", "server"),
        ("stream", "ui"),
        ("models", "cluster"),
    }
    for name in imported(path, lazy=True):
        if not name.startswith("fastrtc."):
            continue
        target = name.split(".")[1]
        if target == room or (room, target) in back:
            continue
        assert room not in PURE, f"{room} imports {name}"
        assert ROOMS.index(target) < ROOMS.index(room), f"{room} imports {name}"
        assert (room, target) not in FORBIDDEN, f"{room} imports {name}"


@pytest.mark.parametrize("room", sorted(PURE))
def test_the_pure_rooms_know_no_clock_no_threads_and_no_loop(room: str) -> None:
    for path in (SOURCE / room).rglob("*.py"):
        found = {name.split(".")[0] for name in imported(path, lazy=True)}
        assert not found & NO_CLOCKS, path


def test_every_room_is_known_to_this_test() -> None:
    found = {room_of(path) for path in modules()} - {"__init__"}
    assert found == set(ROOMS)


def test_no_file_is_longer_than_600_lines() -> None:
    files = [*modules(), *SOURCE.rglob("web/*.js"), *Path(__file__).parent.rglob("*.py")]
    assert not [p for p in files if len(p.read_text().splitlines()) > 600]


@pytest.mark.pitfall(36)
def test_importing_the_package_loads_no_web_framework_no_codec_and_no_model() -> None:
    heavy = {"fastapi", "av", "aiortc", "onnxruntime", "gradio", "uvicorn", "soxr", "numpy", "ray"}
    code = f"import sys, fastrtc; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.pitfall(36)
def test_making_a_stream_loads_no_web_framework_and_no_engine() -> None:
    heavy = {"fastapi", "aiortc", "onnxruntime", "gradio", "uvicorn"}
    code = (
        "import sys; from fastrtc import Stream, ReplyOnPause; Stream(ReplyOnPause(print));"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import fastrtc

    for name in fastrtc.__all__:
        assert getattr(fastrtc, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    import fastrtc

    with pytest.raises(AttributeError, match="nonsense"):
        _ = fastrtc.nonsense


@pytest.mark.parametrize(
    "arguments", [[], ["run", "--help"], ["serve", "--help"]], ids=["import", "run", "serve"]
)
def test_what_is_no_cluster_loads_nothing_of_one(arguments: list[str]) -> None:
    code = (
        "import sys, contextlib, fastrtc\n"
        f"arguments = {arguments!r}\n"
        "if arguments:\n"
        "    from fastrtc.cli import main\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):\n"
        "        main(arguments)\n"
        "print(sorted({'ray', 'aiohttp'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_asking_for_a_model_of_a_cluster_loads_neither_ray_nor_the_model() -> None:
    code = (
        "import sys; from fastrtc import SmartTurn, get_stt_model, get_tts_model;"
        "SmartTurn(where='cluster'); get_stt_model(where='cluster');"
        "get_tts_model(where='cluster');"
        "print(sorted({'ray', 'onnxruntime', 'kokoro_onnx'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
