"""The part of Twilio's REST API that makes calls."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from tests.carrier.call import API_VERSION, PhoneCall

NUMBER: Final = re.compile(r"\+[1-9]\d{1,14}|client:.+|sip:.+")
"""A number in E.164, or an address of another kind."""

Form = dict[str, list[str]]


def make_api(account: str, token: str | None, order: Callable[[Form], PhoneCall]) -> FastAPI:
    """An app with the Calls resource; ``order`` places the call that a form describes."""
    app = FastAPI()

    @app.post(f"/{API_VERSION}/Accounts/{{sid}}/Calls.json")
    async def create(sid: str, request: Request) -> JSONResponse:
        if not _may(request.headers.get("authorization", ""), account, token):
            return _error(401, 20003, "Authenticate", {"WWW-Authenticate": 'Basic realm="Twilio"'})
        if sid != account:
            return _error(404, 20404, f"The requested resource {request.url.path} was not found")
        form = parse_qs((await request.body()).decode(), keep_blank_values=True)
        refusal = _refusal(form)
        if refusal is not None:
            return _error(400, *refusal)
        return JSONResponse(_describe(order(form), account), 201)

    return app


def _may(header: str, account: str, token: str | None) -> bool:
    scheme, _, coded = header.partition(" ")
    try:
        given = base64.b64decode(coded, validate=True)
    except binascii.Error:
        return False
    expected = f"{account}:{token}".encode()
    return token is not None and scheme == "Basic" and secrets.compare_digest(given, expected)


def _refusal(form: Form) -> tuple[int, str] | None:
    """The code and the message of what is wrong with an order, if anything is."""
    to, from_ = form.get("To", [""])[0], form.get("From", [""])[0]
    if not to:
        return 21201, "No 'To' number is specified"
    if not from_:
        return 21213, "No 'From' number is specified"
    if not NUMBER.fullmatch(to):
        return 21211, f"Invalid 'To' Phone Number: {to}"
    if not NUMBER.fullmatch(from_):
        return 21212, f"Invalid 'From' Phone Number: {from_}"
    if not form.get("Url", [""])[0] and not form.get("Twiml", [""])[0]:
        return 21205, "Url parameter is required."
    return None


def _error(
    status: int, code: int, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    link = f"https://www.twilio.com/docs/errors/{code}"
    body = {"code": code, "message": message, "more_info": link, "status": status}
    return JSONResponse(body, status, headers)


def _describe(call: PhoneCall, account: str) -> dict[str, Any]:
    """The call as it is before anything has happened to it."""
    resource = f"/{API_VERSION}/Accounts/{account}/Calls/{call.sid}"
    parts = ("notifications", "recordings", "payments", "events", "siprec", "streams")
    unknown = (
        "answered_by annotation caller_name date_created date_updated duration end_time "
        "forwarded_from group_sid parent_call_sid phone_number_sid price start_time trunk_sid"
    )
    return {
        **dict.fromkeys(unknown.split()),
        "sid": call.sid,
        "account_sid": account,
        "api_version": API_VERSION,
        "direction": call.direction,
        "from": call.from_,
        "from_formatted": call.from_,
        "to": call.to,
        "to_formatted": call.to,
        "price_unit": "USD",
        "queue_time": "0",
        "status": "queued",
        "uri": f"{resource}.json",
        "subresource_uris": {part: f"{resource}/{part.title()}.json" for part in parts},
    }
