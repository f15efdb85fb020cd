"""Real programs that call over SIP: baresip, a softphone, and sipp, a test tool of carriers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import wave
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.conftest import missing

RATE = 8_000
MODULES = [
    Path("/usr/lib/baresip/modules"),
    Path("/usr/local/lib/baresip/modules"),
    *Path("/usr/lib").glob("*-linux-gnu/baresip/modules"),
]
CONFIG = """\
sip_listen 127.0.0.1:0
audio_player aufile,{folder}/played.wav
audio_source aufile,{voice}
audio_alert aufile,/dev/null
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
ausrc_format s16
auplay_format s16
module_path {modules}
module stdio.so
module {codec}.so
module aufile.so
module sndfile.so
snd_path {folder}
module_tmp account.so
module_app menu.so
"""
SCENARIO = """\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<!DOCTYPE scenario SYSTEM "sipp.dtd">
<scenario name="a caller">
<send retrans="500"><![CDATA[
INVITE sip:talk@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: "Caller" <sip:+15550001@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:talk@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=caller 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP {payload_type} 101
a=rtpmap:101 telephone-event/8000
]]></send>
<recv response="100" optional="true"/>
<recv response="200" rrs="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: "Caller" <sip:+15550001@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:talk@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>
<nop><action><exec rtp_stream="{sound},1,{payload_type},{codec}/8000"/></action></nop>
{end}
</scenario>
"""
HANGS_UP = """\
<pause milliseconds="{milliseconds}"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]
From: "Caller" <sip:+15550001@[local_ip]:[local_port]>;tag=[pid]x[call_number]
To: <sip:talk@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Content-Length: 0

]]></send>
<recv response="200"/>
"""
IS_HUNG_UP_ON = """\
<recv request="BYE"/>
<send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
"""


class Baresip:
    """A softphone in a call. It plays a file, and hangs up at its end."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self._folder = folder
        self._process = process
        self.log = ""

    async def until(self, text: str, seconds: float = 15.0) -> None:
        """Wait until it says something."""
        assert self._process.stdout is not None
        while text not in self.log:
            part = await asyncio.wait_for(self._process.stdout.read(4096), seconds)
            assert part, f"baresip has ended without saying {text!r}: {self.log}"
            self.log += part.decode(errors="replace")

    def heard(self) -> NDArray[np.int16]:
        """What it has heard; mono, 8 kHz. When it has ended."""
        (path,) = self._folder.glob("dump-*-dec.wav")
        with wave.open(str(path)) as file:
            assert (file.getframerate(), file.getnchannels()) == (RATE, 1)
            return np.frombuffer(file.readframes(file.getnframes()), np.int16)


@contextlib.asynccontextmanager
async def baresip(
    folder: Path, port: int, voice: NDArray[np.int16], codec: str = "PCMU"
) -> AsyncIterator[Baresip]:
    """Call somebody on loopback, and say something of 8 kHz."""
    program = shutil.which("baresip")
    modules = next((path for path in MODULES if (path / "g711.so").exists()), None)
    if program is None or modules is None:
        missing("baresip (the package baresip-core)")
    with wave.open(str(folder / "voice.wav"), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(voice.tobytes())
    config = CONFIG.format(folder=folder, voice=folder / "voice.wav", modules=modules, codec="g711")
    (folder / "config").write_text(config)
    account = f"<sip:phone@127.0.0.1>;regint=0;audio_codecs={codec}/8000/1\n"
    (folder / "accounts").write_text(account)
    (folder / "contacts").write_text("")
    process = await asyncio.create_subprocess_exec(
        *(str(program), "-f", str(folder), "-v", "-e", f"/dial sip:talk@127.0.0.1:{port}"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Baresip(folder, process)
    finally:
        with contextlib.suppress(ProcessLookupError, ConnectionError):
            process.terminate()
        await process.communicate()


async def sipp(
    folder: Path,
    port: int,
    sound: bytes,
    *,
    codec: str = "PCMU",
    calls: int = 1,
    seconds: float | None = None,
) -> None:
    """Call on loopback, so many times at once, and speak; fails if a call does.

    Args:
        folder: for its files.
        port: whom to call.
        sound: what to say, in the codec.
        codec: PCMU or PCMA.
        calls: how many.
        seconds: after which to hang up; None to wait for the other side to.
    """
    program = shutil.which("sipp")
    if program is None:
        missing("sipp (the package sip-tester)")
    (folder / "sound").write_bytes(sound)
    end = IS_HUNG_UP_ON
    if seconds is not None:
        end = HANGS_UP.format(milliseconds=round(seconds * 1000))
    number = {"PCMU": 0, "PCMA": 8}[codec]
    text = SCENARIO.format(payload_type=number, codec=codec, sound=folder / "sound", end=end)
    (folder / "scenario.xml").write_text(text)
    process = await asyncio.create_subprocess_exec(
        *(str(program), f"127.0.0.1:{port}", "-sf", str(folder / "scenario.xml")),
        *("-i", "127.0.0.1", "-m", str(calls), "-l", str(calls), "-r", str(calls)),
        *("-nostdin", "-timeout", "15", "-timeout_error"),
        *("-trace_err", "-error_file", str(folder / "errors")),
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        cwd=folder,
    )
    try:
        code = await asyncio.wait_for(process.wait(), 20)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    errors = folder / "errors"
    assert code == 0, errors.read_text() if errors.exists() else f"sipp ended with {code}"
