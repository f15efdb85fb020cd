"""Which deployments the tier has. What they do is in tests/e2e."""

import pytest

from fastrtc import metrics
from fastrtc.cluster import models
from fastrtc.cluster.model_tier import KINDS
from fastrtc.models import place


@pytest.fixture(autouse=True)
def _nothing_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_wanted", {})


def test_a_model_that_there_is_not_is_named() -> None:
    with pytest.raises(ValueError, match=r"expected some of the models .*, got tts-parrot"):
        models("tts-kokoro", "tts-parrot")


def test_a_tier_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected some of the models .*, got none"):
        models()


def test_every_model_that_can_be_asked_for_can_be_deployed() -> None:
    from fastrtc import SmartTurn, get_stt_model, get_tts_model

    get_stt_model("moonshine/tiny", where="cluster")
    get_stt_model("moonshine/base", where="cluster")
    get_tts_model(where="cluster")
    SmartTurn(where="cluster")
    assert set(place.wanted()) == set(KINDS) == set(metrics.TIER_MODELS)
