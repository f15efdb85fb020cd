"""The files of Moonshine (MIT, English): encoder, decoder and vocabulary of each size."""

from __future__ import annotations

from typing import Final

from fastrtc.models.weights import HubFile, Packaged, Weights

_TINY_REPO: Final = "moonshine-ai/moonshine-voice-assets"
_TINY_REVISION: Final = "35d84fc0eb2d7451da9973c990e8a77066abb105"
_TINY_TOKENS: Final = "6884b35fd6377d4c4d32336a0bc152f36b64d1e45b6503683cdc238250a8472d"
_BASE_REPO: Final = "UsefulSensors/moonshine"
_BASE_REVISION: Final = "48b4e427b587bcf67797a5be706d6ddc4a298149"


def _tiny(file: str, size: int, sha256: str) -> Weights:
    return Weights(
        name=f"moonshine-tiny-en/{file}",
        sha256=sha256,
        size=size,
        packaged=Packaged(
            parts=(("moonshine_voice", f"assets/tiny-en/{file}"),),
            install="--no-deps moonshine-voice==0.1.0",
        ),
        hub=HubFile(_TINY_REPO, f"model/tiny-en/quantized/tiny-en/{file}", _TINY_REVISION),
    )


def _base(file: str, size: int, sha256: str, hub: HubFile | None = None) -> Weights:
    return Weights(
        name=f"moonshine-base-en/{file}",
        sha256=sha256,
        size=size,
        packaged=Packaged(
            parts=(("moonshine_cpp", f"models/base-en/{file}"),),
            install="moonshine-cpp==0.1.4",
        ),
        hub=hub or HubFile(_BASE_REPO, f"onnx/merged/base/quantized/{file}", _BASE_REVISION),
    )


TINY: Final = (
    _tiny(
        "encoder_model.ort",
        13_281_600,
        "94e90a4654fc45cdfedb77c4c08e1739f48862998e58fada384b25118134f221",
    ),
    _tiny(
        "decoder_model_merged.ort",
        30_412_256,
        "cf524c4862d36e9e5ab032eddc73637efd822d70e868ac575cf1a46e1e4708a0",
    ),
    _tiny("tokenizer.bin", 249_974, _TINY_TOKENS),
)
"""Encoder, decoder, vocabulary."""
BASE: Final = (
    _base(
        "encoder_model.ort",
        20_661_976,
        "9d1a19e044cbf89a207723d1adb667de89a5671a1e3e611b8ebe721b2c31219c",
    ),
    _base(
        "decoder_model_merged.ort",
        42_703_232,
        "370e0c1f161d68dc1c2264c1a82024fb123380da3b73f47f05531d1e8d3308c3",
    ),
    _base(
        "tokenizer.bin",
        241_639,
        "04670d78994d030185c3dd843c60591788fed0a56cc6750747bd326825f13ca9",
        # The hub has this file for tiny only. Token by token the two give the same text, but for a
        # line separator.
        HubFile(
            _TINY_REPO,
            "model/tiny-en/quantized/tiny-en/tokenizer.bin",
            _TINY_REVISION,
            sha256=_TINY_TOKENS,
        ),
    ),
)
"""The same of the larger network."""
