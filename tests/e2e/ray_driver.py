"""A driver of Ray on the head's host: `python -m tests.e2e.ray_driver ADDRESS HOST`.

It calls functions of modules: each line of standard input is JSON, ``{"call": "module:function",
"with": {...}}``, and is answered by a line, ``{"result": ...}`` or ``{"error": text}``. The first
line that it prints tells that it is connected.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
import traceback
from typing import Any

import ray
from ray import serve  # noqa: F401  So that the first call need not wait for it.


def main() -> None:
    address, host = sys.argv[1:]
    # What Ray prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ray.init(
        address=address,
        namespace="serve",
        _node_ip_address=host,
        log_to_driver=False,
        logging_level=logging.WARNING,
    )
    print(json.dumps({"result": None}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(_called(json.loads(line))), file=answers, flush=True)


def _called(order: dict[str, Any]) -> dict[str, Any]:
    module, name = order["call"].split(":")
    try:
        return {"result": getattr(importlib.import_module(module), name)(**order["with"])}
    except Exception:
        return {"error": traceback.format_exc()}


if __name__ == "__main__":
    main()
