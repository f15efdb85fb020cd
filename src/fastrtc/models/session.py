"""Opens a network in onnxruntime, in the way that suits callers who must not wait."""

from __future__ import annotations

from typing import Any


def open_session(data: bytes, *, threads: int = 1) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU, which may be used from many threads.

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
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
