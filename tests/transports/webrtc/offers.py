"""Offers in the shapes in which browsers send them, with bare line feeds."""

DIGEST = ":".join(["4A", "AD", "B9", "B1"] * 8)

CHROME_TRANSPORT = f"""\
a=ice-ufrag:EsAw
a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y
a=ice-options:trickle
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
"""
CHROME_CANDIDATE = (
    "842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 0.0.0.0 rport 0 "
    "generation 0 network-cost 999"
)
SAFARI_CANDIDATE = (
    "1467250027 1 udp 2122260223 0d9dd1a5-b4a2-4a4b-9c3e-7d2f0a1b2c3d.local 63210 typ host "
    "generation 0 network-cost 50"
)
CHROME_HEAD = """\
v=0
o=- 8567802084787497323 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 6d0b2e4e-7c5f-4ec7-9d3f-0a1b2c3d4e5f
"""
CHROME_AUDIO = f"""\
m=audio 46154 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 203.0.113.9
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:{CHROME_CANDIDATE}
{CHROME_TRANSPORT}\
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:6d0b2e4e-7c5f-4ec7-9d3f-0a1b2c3d4e5f 1b7a0a52-55f5-4a7c-8d0d-7b3c9a1e2f30
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtpmap:126 telephone-event/8000
a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6
a=ssrc:3570614608 msid:6d0b2e4e-7c5f-4ec7-9d3f-0a1b2c3d4e5f 1b7a0a52-55f5-4a7c-8d0d-7b3c9a1e2f30
"""
CHROME_DATA = f"""\
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
{CHROME_TRANSPORT}\
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
"""
VIDEO = f"""\
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
{CHROME_TRANSPORT}\
a=mid:v
a=sendrecv
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
"""
CHROME = CHROME_HEAD + CHROME_AUDIO + CHROME_DATA

FIREFOX = f"""\
v=0
o=mozilla...THIS_IS_SDPARTA-128.0 4284361219527171414 0 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 {DIGEST}
a=group:BUNDLE 0 1
a=ice-options:trickle
a=msid-semantic:WMS *
m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101
c=IN IP4 0.0.0.0
a=sendrecv
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level
a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1
a=fmtp:101 0-15
a=ice-pwd:4a2ad6b5e5a6a3e3f9cf3ad2b4a0a5cf
a=ice-ufrag:7ddb2a4e
a=mid:0
a=msid:{{1c0a1e5e-1f6b-4f3e-9a59-4b0b8d3c7f21}} {{0c1f2e3d-4b5a-6978-8796-a5b4c3d2e1f0}}
a=rtcp-mux
a=rtpmap:109 opus/48000/2
a=rtpmap:9 G722/8000/1
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000/1
a=setup:actpass
a=ssrc:2655508255 cname:{{9b2d3c4e-5f60-4172-8394-a5b6c7d8e9f0}}
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=sendrecv
a=ice-pwd:4a2ad6b5e5a6a3e3f9cf3ad2b4a0a5cf
a=ice-ufrag:7ddb2a4e
a=mid:1
a=setup:actpass
a=sctp-port:5000
a=max-message-size:1073741823
"""

SAFARI = f"""\
v=0
o=- 3340216842397018271 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=msid-semantic: WMS 0d9dd1a5-b4a2-4a4b-9c3e-7d2f0a1b2c3d
m=audio 63210 UDP/TLS/RTP/SAVPF 96 103 9 102 0 8 105 13 110 113 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:{SAFARI_CANDIDATE}
a=end-of-candidates
a=ice-ufrag:3aBc
a=ice-pwd:c4Vd6GmFz9kS1hTq0wYxN8uR
a=ice-options:trickle
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=rtcp-mux
a=rtpmap:96 opus/48000/2
a=rtcp-fb:96 transport-cc
a=fmtp:96 minptime=10;useinbandfec=1
a=rtpmap:103 ISAC/16000
a=rtpmap:9 G722/8000
a=rtpmap:102 ILBC/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:105 CN/16000
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:3aBc
a=ice-pwd:c4Vd6GmFz9kS1hTq0wYxN8uR
a=ice-options:trickle
a=fingerprint:sha-256 {DIGEST}
a=setup:actpass
a=mid:1
a=sctp-port:5000
a=max-message-size:65536
"""

BROWSERS = {"chrome": CHROME, "firefox": FIREFOX, "safari": SAFARI}


def bundle(mids: str, *sections: str) -> str:
    """Chrome's offer of these sections."""
    return CHROME_HEAD.replace("BUNDLE 0 1", f"BUNDLE {mids}") + "".join(sections)
