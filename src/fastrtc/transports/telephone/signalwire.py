"""SignalWire: cXML, its signature, and its streams, which are Twilio's in all but little.

The document and the messages: https://signalwire.com/docs/compatibility-api/cxml/reference/voice/stream.
The signature: https://developer.signalwire.com/guides/webhook-security.
"""

from __future__ import annotations

from dataclasses import replace

from fastrtc.transports.telephone.provider import Connection, Webhook
from fastrtc.transports.telephone.twilio import Twilio, TwilioWire


class SignalWireWire(TwilioWire):
    """Streams: as `TwilioWire`. ``PCMU@8000h`` is the codec where the document names none."""

    name = "signalwire"


class SignalWire(Twilio):
    """The platform; see `Provider`. The secret is ``SIGNALWIRE_SIGNING_KEY``."""

    name = "signalwire"
    secret_name = "SIGNALWIRE_SIGNING_KEY"
    signature_name = "x-signalwire-signature"

    def is_signed(self, webhook: Webhook) -> bool:
        """See `Provider`: as Twilio signs, under one of two names."""
        given = webhook.headers.get(self.signature_name) or webhook.headers.get(
            Twilio.signature_name, ""
        )
        return super().is_signed(replace(webhook, headers={self.signature_name: given}))

    def connect(self, webhook: Webhook, connection: Connection) -> tuple[str, str]:
        """See `Provider`: cXML, which cannot record beside a stream."""
        options = replace(connection.options, record=False)
        return super().connect(webhook, replace(connection, options=options))

    def wire(self) -> SignalWireWire:
        """See `Provider`."""
        return SignalWireWire()
