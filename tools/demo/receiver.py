"""A webhook receiver as a customer would write it, with Flask and waitress.

It verifies the raw body of every request in two ways: by `X-Roboticks-Signature`, and by the Standard Webhooks
headers with that project's own library. Either shows who sent it; only the second also rejects replays, so prefer it in production. An invalid
signature is answered with 401, a valid one as the route's endpoint in the demo should.

WEBHOOK_SECRET is the signing secret, RECEIVER_HOST the address to listen at. JSON lines go to standard output: first
the port, then one for each request.
"""

import hashlib
import hmac
import json
import os
import sys
import threading

from flask import Flask, request
from standardwebhooks import Webhook, WebhookVerificationError
from waitress import create_server

SECRET = os.environ["WEBHOOK_SECRET"]

app = Flask(__name__)


def roboticks_signature_is_valid(payload: bytes, signature: str) -> bool:
    expected = "sha256=" + hmac.new(SECRET.encode(), payload, hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature.encode(), expected.encode())


def standard_webhooks_are_valid(payload: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(SECRET).verify(payload, headers)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def receive(answer: int) -> tuple[str, int]:
    """Verifies the request, reports it, and answers with that status."""
    payload = request.get_data()  # the raw bytes: JSON that was parsed and serialized again would not verify
    roboticks = roboticks_signature_is_valid(payload, request.headers.get("X-Roboticks-Signature", ""))
    standard = standard_webhooks_are_valid(payload, dict(request.headers))
    status = answer if roboticks and standard else 401
    report(
        path=request.path,
        delivery=request.headers.get("X-Roboticks-Delivery"),  # the same in every attempt: recognize duplicates by it
        attempt=attempt(),
        event=request.headers.get("X-Roboticks-Event"),
        roboticks_signature=roboticks,
        standard_webhooks=standard,
        answered=status,
        body=payload.decode(errors="replace"),
    )
    return ("OK" if status == 200 else "no", status)


def attempt() -> int:
    return request.headers.get("X-Roboticks-Attempt", default=0, type=int)


@app.route("/always-works", methods=["POST", "PUT", "PATCH"])
def always_works():
    return receive(200)


@app.route("/recovers", methods=["POST", "PUT", "PATCH"])
def recovers():
    """Fails two attempts in different ways, then works."""
    return receive({1: 500, 2: 503}.get(attempt(), 200))


@app.route("/always-fails", methods=["POST", "PUT", "PATCH"])
def always_fails():
    return receive(500)


@app.route("/switched-off", methods=["POST", "PUT", "PATCH"])
def switched_off():
    """Never called, because its integration is switched off."""
    return receive(200)


def report(**line) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    server = create_server(app, host=os.environ["RECEIVER_HOST"], port=0)
    report(port=int(server.effective_port))
    threading.Thread(target=server.run, daemon=True).start()
    sys.stdin.read()  # serves until the process that started it ends
