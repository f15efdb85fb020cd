"""Many callers in a process of their own: `python -m tests.e2e.crowd URL CALLS TOGETHER KIND`.

KIND is `talk` (audio both ways), or `quiet` (only a data channel). Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.peers import Caller


class QuietCaller(Caller):
    """Only a data channel."""

    async def offer(self) -> dict[str, Any]:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channel = self.connection.createDataChannel("text")
        await self.connection.setLocalDescription(await self.connection.createOffer())
        sdp = self.connection.localDescription.sdp
        return {"sdp": sdp, "type": "offer", "webrtc_id": self.id}

    async def connect(self) -> None:
        opened = asyncio.Event()
        offer = await self.offer()
        self.channel.on("open", opened.set)
        answer = await self.post(offer)
        description = RTCSessionDescription(answer["sdp"], answer["type"])
        await self.connection.setRemoteDescription(description)
        await asyncio.wait_for(opened.wait(), 15)


async def main() -> None:
    url, calls, together, kind = sys.argv[1:]
    answered = 0
    peak = 0
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        for _ in range(int(calls) // int(together)):
            make = Caller if kind == "talk" else QuietCaller
            callers = [make(http) for _ in range(int(together))]
            await asyncio.gather(*(caller.connect() for caller in callers))
            await asyncio.sleep(0.3)
            peak = max(peak, (await http.get("/stats")).json()["threads"])
            answered += sum(bool(caller.heard) or kind == "quiet" for caller in callers)
            await asyncio.gather(*(caller.hang_up() for caller in callers))
    print(json.dumps({"answered": answered, "peak_threads": peak}))


if __name__ == "__main__":
    asyncio.run(main())
