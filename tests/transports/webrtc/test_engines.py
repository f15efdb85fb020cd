from typing import Any

import pytest

from fastrtc import ReplyOnPause, Stream
from fastrtc.transports.webrtc.aiortc_engine import AiortcEngine
from fastrtc.transports.webrtc.engines import check_engine, open_engine
from fastrtc.transports.webrtc.place import MediaPlace


def stream(engine: Any) -> Stream:
    return Stream(ReplyOnPause(lambda audio: iter([])), engine=engine)


@pytest.mark.parametrize("name", ["auto", "aiortc"])
def test_a_name_opens_the_engine(name: str) -> None:
    assert isinstance(open_engine(check_engine(name)), AiortcEngine)


def test_an_engine_of_ones_own_takes_the_calls() -> None:
    class Mine(AiortcEngine):
        pass

    mine = Mine()
    assert stream(mine)._webrtc.engine is mine


def test_an_engine_that_is_not_there_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"carry fewer calls on a core"):
        stream("native")


def test_another_name_is_refused_with_what_came() -> None:
    with pytest.raises(ValueError, match=r'expected the engine "auto" or "aiortc".*, got "?\'fast'):
        stream("fast")


def test_what_is_no_engine_is_refused() -> None:
    with pytest.raises(TypeError, match="got int"):
        stream(7)


def test_an_engine_of_ones_own_is_said_to_know_no_media_ports(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mine = AiortcEngine()
    assert open_engine(mine, MediaPlace()) is mine
    assert not caplog.records
    assert open_engine(mine, MediaPlace(ports=(50_000, 50_009))) is mine
    assert "opens its ports by itself" in caplog.text
