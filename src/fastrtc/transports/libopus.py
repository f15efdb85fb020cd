"""libopus, called directly: PyAV has it inside, and cannot conceal a loss or decode to a rate.

The functions keep the interpreter's lock: each takes 20 to 200 us, and a thread that gave the lock
away at every frame of every call would wait for it as often.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import sys
from pathlib import Path
from typing import Any, Final

SET_APPLICATION: Final = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
SET_BIT_RATE: Final = 4002
SET_COMPLEXITY: Final = 4010
SET_INBAND_FEC: Final = 4012
SET_PACKET_LOSS: Final = 4014
SET_SIGNAL: Final = 4024
SIGNAL_VOICE: Final = 3001
"""As opus_defines.h has them."""
RATES: Final = (48_000, 24_000, 16_000, 12_000, 8_000)
"""Hz that Opus encodes from and decodes to (RFC 6716, 2.1.1)."""
LONGEST_PACKET: Final = 0.12
"""Seconds of sound in one packet at the most (RFC 6716, 2.1.4)."""
LARGEST_PACKET: Final = 1_275
"""Bytes of one frame at the most (RFC 6716, 3.4)."""
NAME: Final = re.compile(r"(lib)?opus([-.][0-9a-f]+)*\.(so|dylib|dll)(\.\d+)*")
"""Of the library's file, and not of libopusfile's."""


def _open() -> Any:
    """The library, with the types of its functions.

    Raises:
        RuntimeError: there is none on this machine.
    """
    lib = ctypes.PyDLL(_find())
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name in ("encoder", "decoder"):
        getattr(lib, f"opus_{name}_get_size").argtypes = [number]
        # What follows the request is variadic, and passed as what it is.
        getattr(lib, f"opus_{name}_ctl").argtypes = [pointer, number]
    lib.opus_encoder_init.argtypes = [pointer, ctypes.c_int32, number, number]
    lib.opus_decoder_init.argtypes = [pointer, ctypes.c_int32, number]
    lib.opus_encode.argtypes = [pointer, pointer, number, pointer, ctypes.c_int32]
    data = ctypes.c_char_p
    lib.opus_decode.argtypes = [pointer, data, ctypes.c_int32, pointer, number, number]
    return lib


def _find() -> str:
    """Where the library is: PyAV's wheels carry it; PyAV built from source uses the system's."""
    import av

    package, prefix = Path(av.__file__).parent, Path(sys.prefix)
    # The last two are where conda keeps it.
    wheels = package.parent / "av.libs", package / ".dylibs"
    for folder in (*wheels, prefix / "lib", prefix / "Library" / "bin"):
        for found in sorted(folder.glob("*opus*")):
            if NAME.fullmatch(found.name):
                return str(found)
    system = ctypes.util.find_library("opus")
    if system is None:
        raise RuntimeError(
            "expected libopus beside PyAV or on the system, and found none; "
            "install PyAV's wheel (pip install --force-reinstall av), or libopus0"
        )
    return system


LIBOPUS: Final = _open()
"""Opened when this is imported: to find it reads folders, which an event loop must not wait for."""
