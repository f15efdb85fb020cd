"""Short-lived TURN credentials, as the RTCConfiguration a browser's RTCPeerConnection takes."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Callable, Coroutine
from functools import wraps
from inspect import signature
from operator import itemgetter
from typing import Any, Literal, NamedTuple, ParamSpec
from urllib.parse import quote
from urllib.request import Request

from fastrtc.web_service import ask

_P = ParamSpec("_P")
_Config = dict[str, Any]


class _Service(NamedTuple):
    variables: dict[str, str]
    url: str
    headers: Callable[[dict[str, str]], dict[str, str]]
    answers: frozenset[str] = frozenset({"iceServers"})
    servers: Callable[[dict[str, Any]], Any] = itemgetter("iceServers")
    body: str | None = None


_SERVICES = {
    "Cloudflare TURN by Hugging Face token": _Service(
        variables={"hf_token": "HF_TOKEN"},
        url="https://fastrtc-turn-service.hf.space/credentials?ttl={ttl}",
        headers=lambda known: {"Authorization": f"Bearer {known['hf_token']}"},
    ),
    "Cloudflare TURN": _Service(
        variables={
            "turn_key_id": "CLOUDFLARE_TURN_KEY_ID",
            "turn_key_api_token": "CLOUDFLARE_TURN_KEY_API_TOKEN",
        },
        url="https://rtc.live.cloudflare.com/v1/turn/keys/{turn_key_id}/credentials/generate-ice-servers",
        headers=lambda known: {
            "Authorization": f"Bearer {known['turn_key_api_token']}",
            "Content-Type": "application/json",
        },
        body='{{"ttl": {ttl}}}',
    ),
    "Hugging Face community TURN": _Service(
        variables={"token": "HF_TOKEN"},
        url="https://fastrtc-turn-server-login.hf.space/credentials",
        headers=lambda known: {"X-HF-Access-Token": known["token"]},
        answers=frozenset({"username", "credential"}),
        servers=lambda answer: [{"urls": "turn:gradio-turn.com:80", **answer}],
    ),
    "Twilio TURN": _Service(
        variables={"twilio_sid": "TWILIO_ACCOUNT_SID", "twilio_token": "TWILIO_AUTH_TOKEN"},
        url="https://api.twilio.com/2010-04-01/Accounts/{twilio_sid}/Tokens.json",
        headers=lambda known: {
            "Authorization": f"Basic {b64encode(':'.join(known.values()).encode()).decode()}"
        },
        answers=frozenset({"ice_servers"}),
        servers=itemgetter("ice_servers"),
        body="",
    ),
}


def _choose(given: dict[str, str | None], names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    needs = {name: _SERVICES[name].variables for name in names}
    known = {
        argument: (given[argument] or "").strip() or os.environ.get(variable, "").strip()
        for variables in needs.values()
        for argument, variable in variables.items()
    }
    ready = [name for name in names if all(known[argument] for argument in needs[name])]
    if not ready:
        lacking = [
            " and ".join(f"{a} (or {v} in the environment)" for a, v in n.items() if not known[a])
            for n in needs.values()
        ]
        raise ValueError(f"{names[-1]} needs {', or else '.join(lacking)}")
    # HF_TOKEN is often set for other ends: it must not outdo a key that the caller passed.
    name = min(ready, key=lambda name: not any(given[argument] for argument in needs[name]))
    for argument in needs[name]:
        # http.client refuses such a header too, but in a message that shows it.
        if not (known[argument].isascii() and known[argument].isprintable()):
            raise ValueError(f"{argument} holds characters that no credential has")
    return name, {argument: known[argument] for argument in needs[name]}


def _fetch(given: dict[str, str | None], *names: str, ttl: int = 0) -> _Config:
    name, known = _choose(given, names)
    service = _SERVICES[name]
    fields = {"ttl": ttl, **{argument: quote(value, safe="") for argument, value in known.items()}}
    request = Request(
        service.url.format_map(fields),
        data=None if service.body is None else service.body.format_map(fields).encode(),
        # Cloudflare's bot rules are known to refuse urllib's own name.
        headers={**service.headers(known), "User-Agent": "fastrtc"},
    )
    try:
        answer = ask(request)
        shaped = isinstance(answer, dict) and service.answers <= answer.keys()
        servers = service.servers(answer) if shaped else None
        if not isinstance(servers, list) or not all(isinstance(one, dict) for one in servers):
            raise ValueError("JSON of another shape")
    except ValueError as error:
        expected = f"a JSON object with {' and '.join(sorted(service.answers))}"
        message = f"{name} ({request.host}): expected {expected}, got {error}"
        raise RuntimeError(message) from (error.__cause__ or error)
    relay = {"iceServers": servers, "iceTransportPolicy": "relay"}
    return dict(answer) if "iceServers" in service.answers else relay


def get_cloudflare_turn_credentials(
    turn_key_id: str | None = None,
    turn_key_api_token: str | None = None,
    hf_token: str | None = None,
    ttl: int = 600,
) -> _Config:
    """Ask Cloudflare, by a Hugging Face token or else by a key pair; arguments go first.

    Args:
        turn_key_id: the key; otherwise ``CLOUDFLARE_TURN_KEY_ID``.
        turn_key_api_token: its secret; otherwise ``CLOUDFLARE_TURN_KEY_API_TOKEN``.
        hf_token: the token; otherwise ``HF_TOKEN``.
        ttl: seconds for which they are good.

    Raises:
        ValueError: there is neither a token nor a key pair.
        RuntimeError: the service does not give any; the text says why.
    """
    pair = {"turn_key_id": turn_key_id, "turn_key_api_token": turn_key_api_token}
    names = ("Cloudflare TURN by Hugging Face token", "Cloudflare TURN")
    return _fetch({"hf_token": hf_token, **pair}, *names, ttl=ttl)


def get_hf_turn_credentials(token: str | None = None, ttl: int = 600) -> _Config:
    """Ask Hugging Face's community server.

    Args:
        token: the token; otherwise ``HF_TOKEN``.
        ttl: taken from older callers and not sent.

    Raises:
        ValueError: there is no token.
        RuntimeError: the service does not give any; the text says why.
    """
    return _fetch({"token": token}, "Hugging Face community TURN")


def get_twilio_turn_credentials(
    twilio_sid: str | None = None, twilio_token: str | None = None
) -> _Config:
    """Ask Twilio's Network Traversal Service.

    Args:
        twilio_sid: the account; otherwise ``TWILIO_ACCOUNT_SID``.
        twilio_token: its secret; otherwise ``TWILIO_AUTH_TOKEN``.

    Raises:
        ValueError: there is no account.
        RuntimeError: the service does not give any; the text says why.
    """
    return _fetch({"twilio_sid": twilio_sid, "twilio_token": twilio_token}, "Twilio TURN")


def get_turn_credentials(
    method: Literal["cloudflare", "hf", "twilio"] = "cloudflare", **kwargs: Any
) -> _Config:
    """Ask the service of that name.

    Args:
        method: which one.
        kwargs: its arguments; those that only another service takes are left out.

    Raises:
        ValueError: there is no such service, or it lacks a key.
        TypeError: no service takes such an argument.
        RuntimeError: the service does not give any; the text says why.
    """
    functions: dict[str, Callable[..., _Config]] = {
        "cloudflare": get_cloudflare_turn_credentials,
        "hf": get_hf_turn_credentials,
        "twilio": get_twilio_turn_credentials,
    }
    takes = {name: signature(function).parameters for name, function in functions.items()}
    if method not in functions:
        raise ValueError(f"method is one of {', '.join(functions)}, not {method!r}")
    if unknown := [name for name in kwargs if not any(name in own for own in takes.values())]:
        raise TypeError(f"no TURN service takes {', '.join(unknown)}")
    return functions[method](**{k: v for k, v in kwargs.items() if k in takes[method]})


def _off_the_loop(function: Callable[_P, _Config]) -> Callable[_P, Coroutine[Any, Any, _Config]]:
    @wraps(function)
    async def awaitable(*args: _P.args, **kwargs: _P.kwargs) -> _Config:
        return await asyncio.to_thread(function, *args, **kwargs)

    awaitable.__name__ = awaitable.__qualname__ = f"{function.__name__}_async"
    return awaitable


get_cloudflare_turn_credentials_async = _off_the_loop(get_cloudflare_turn_credentials)
get_hf_turn_credentials_async = _off_the_loop(get_hf_turn_credentials)
get_twilio_turn_credentials_async = _off_the_loop(get_twilio_turn_credentials)
get_turn_credentials_async = _off_the_loop(get_turn_credentials)
