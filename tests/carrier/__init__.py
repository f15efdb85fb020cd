"""A telephone company for tests: behaves as Twilio's documentation says, on loopback."""

from __future__ import annotations

from tests.carrier.call import PhoneCall
from tests.carrier.company import Carrier
from tests.carrier.twiml import BadTwiml
from tests.carrier.webhooks import Signing, sign

__all__ = ["BadTwiml", "Carrier", "PhoneCall", "Signing", "sign"]
