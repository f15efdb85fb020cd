"""Opens a network in onnxruntime, in the way that suits callers who must not wait."""

from __future__ import annotations

from typing import Any, Final

_providers: Final = ["CPUExecutionProvider"]


def open_session(data: bytes, *, threads: int = 1) -> Any:
    """An ``onnxruntime.InferenceSession``, which may be used from many threads.

    It is on the CPU, or, after `use_cuda`, on a GPU.

    Args:
        data: the network, as ``.onnx`` or ``.ort``.
        threads: how many of them share one run. They do not spin while they wait for each other:
            onnxruntime's own choice, as many as there are cores and spinning, was measured to be
            twice as slow.
    """
    # Imported here, because it costs 0.1 s that `import fastrtc` should not.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=_providers)


def use_cuda() -> bool:
    """Open what follows on a GPU. False if this onnxruntime cannot."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return False
    _providers[:] = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return True
