"""A process may end at any time, also while models are being loaded."""

from __future__ import annotations

import subprocess
import sys

APP = """
from fastapi import FastAPI
from fastrtc import ReplyOnPause, Stream

def reply(audio):
    yield audio

Stream(ReplyOnPause(reply)).mount(FastAPI())
"""


def test_a_process_that_ends_right_after_a_mount_ends_well() -> None:
    done = subprocess.run([sys.executable, "-c", APP], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
