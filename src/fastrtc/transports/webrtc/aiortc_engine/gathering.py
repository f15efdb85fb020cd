"""Connections and candidates: which sockets are opened, and what each side tells the other."""

from __future__ import annotations

import asyncio
import copy
import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import Final

import aioice
from aioice.candidate import candidate_foundation, candidate_priority
from aioice.ice import StunProtocol, server_reflexive_candidate
from aioice.turn import UDP_SOCKET_BUFFER_SIZE

from fastrtc.transports.ports import NoUdpPort, UdpPorts, is_own
from fastrtc.transports.webrtc.candidates import RemoteCandidate
from fastrtc.transports.webrtc.place import MediaPlace

logger = logging.getLogger(__name__)

GATHER_SECONDS: Final = 1.5
"""A STUN or TURN server that does not answer in this time is done without."""


def as_aioice(candidate: RemoteCandidate) -> aioice.Candidate:
    """A candidate of the far side, as aioice has it."""
    return aioice.Candidate(
        foundation=candidate.foundation,
        component=candidate.component,
        transport=candidate.transport,
        priority=candidate.priority,
        host=candidate.host,
        port=candidate.port,
        type=candidate.type,
        related_address=candidate.related_host,
        related_port=candidate.related_port,
        tcptype=candidate.tcp_type,
    )


class MediaSockets:
    """Opens the sockets of connections where the media of this server is reached."""

    def __init__(self, place: MediaPlace) -> None:
        self.address = place.address
        self.anywhere = place == MediaPlace()
        """Whether aioice's own way will do."""
        self._ports = UdpPorts(place.ports)
        if place.address is not None:
            whose = "this host's" if is_own(place.address) else "that of a NAT before this host"
            logger.info("Callers are told the media address %s, %s", place.address, whose)

    def open(self, found: list[str]) -> list[socket.socket]:
        """Sockets of one connection.

        Args:
            found: the addresses that this host has.

        Raises:
            NoUdpPort: there is no port for it, or no address.
        """
        address = self.address
        if address is None:
            return self._ports.open(found)
        # Asked each time: a host may get an address while it runs.
        if is_own(address):
            return self._ports.open([address])
        version = ipaddress.ip_address(address).version
        behind = [one for one in found if ipaddress.ip_address(one).version == version]
        if not behind:
            raise NoUdpPort(
                f"the media address {address} is not this host's, and it has none of IPv{version} "
                "that a NAT could hand on to (--media-address, FASTRTC_MEDIA_ADDRESS)"
            )
        return self._ports.open(behind)


class Connection(aioice.Connection):
    """An aioice connection that gives media packets away at once, without its queue.

    The queue wakes a task for every datagram, and media are nearly all of them.

    Attributes:
        on_media: takes them.
        sockets: what it opens its own by.
    """

    on_media: Callable[[bytes], None]
    sockets: MediaSockets

    def data_received(self, data: bytes, component: int) -> None:
        # RFC 7983: 128 to 191 is RTP or RTCP, and everything else is for DTLS.
        if data and 127 < data[0] < 192:
            self.on_media(data)
        else:
            super().data_received(data, component)

    async def get_component_candidates(
        self, component: int, addresses: list[str], timeout: int = 5
    ) -> list[aioice.Candidate]:
        gather = super().get_component_candidates
        if self.sockets.anywhere:
            return await gather(component, addresses, GATHER_SECONDS)  # type: ignore[arg-type]
        hosts: list[StunProtocol] = []
        if self._transport_policy is not aioice.TransportPolicy.RELAY:
            hosts = await self._open_hosts(component, addresses)
        relayed, reflexive = await asyncio.gather(
            gather(component, [], GATHER_SECONDS),  # type: ignore[arg-type]
            self._reflexive(hosts),
        )
        return [*self._offered(hosts), *reflexive, *relayed]

    async def _open_hosts(self, component: int, addresses: list[str]) -> list[StunProtocol]:
        hosts = []
        sockets = self.sockets.open(addresses)
        try:
            for one in sockets:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_SOCKET_BUFFER_SIZE)
                host, port = one.getsockname()[:2]
                candidate = aioice.Candidate(
                    foundation=candidate_foundation("host", "udp", host),
                    component=component,
                    transport="udp",
                    priority=candidate_priority(component, "host"),
                    host=host,
                    port=port,
                    type="host",
                )
                _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
                    lambda: StunProtocol(self), sock=one
                )
                protocol.local_candidate = candidate
                # From now on it is closed with the connection.
                self._protocols.append(protocol)
                hosts.append(protocol)
        finally:
            for one in sockets[len(hosts) :]:
                one.close()
        return hosts

    def _offered(self, hosts: list[StunProtocol]) -> list[aioice.Candidate]:
        """What callers are told of our own sockets, with the address that they reach."""
        offered: dict[tuple[str, int], aioice.Candidate] = {}
        for protocol in hosts:
            candidate = protocol.local_candidate
            if self.sockets.address not in (None, candidate.host):
                # Still a host candidate, of its priority: it is the best way there is. It has no
                # related address, which would tell callers one that is of no use to them.
                candidate = copy.copy(candidate)
                candidate.host = str(self.sockets.address)
                candidate.foundation = candidate_foundation("host", "udp", candidate.host)
            # All addresses behind the NAT have the same port: to callers they are one candidate.
            offered.setdefault((candidate.host, candidate.port), candidate)
        return list(offered.values())

    async def _reflexive(self, hosts: list[StunProtocol]) -> list[aioice.Candidate]:
        """What a STUN server sees of our sockets, if callers are not told an address anyway."""
        if self.stun_server is None or self.sockets.address is not None:
            return []
        # As in aioice, IPv6 is not asked for: it is seldom translated.
        asking = [
            asyncio.ensure_future(server_reflexive_candidate(protocol, self.stun_server))
            for protocol in hosts
            if ":" not in protocol.local_candidate.host
        ]
        if not asking:
            return []
        try:
            done, _ = await asyncio.wait(asking, timeout=GATHER_SECONDS)
        finally:
            for task in asking:
                task.cancel()
        return [task.result()[0] for task in done if task.exception() is None]
