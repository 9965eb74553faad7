"""A hospital's receiver, as a hospital would write it: verifies with the `standardwebhooks` package, then reads.

A process of its own: `python -m radrelay.receiver PORT`, with a JSON object of site → secret as the first line of
standard input. Prints one JSON line per accepted webhook.
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

BODY_LIMIT = 1 << 20
one_line_at_a_time = threading.Lock()


def summary(site: str, webhook_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    """What the clinic's own system would file: whose report, for which order, saying what."""
    data = payload["data"]
    if data.get("resourceType") != "DiagnosticReport":
        return {"site": site, "webhook_id": webhook_id, "type": payload["type"], "notice": data}
    patient = next(each for each in data["contained"] if each["resourceType"] == "Patient")
    return {
        "site": site,
        "webhook_id": webhook_id,
        "type": payload["type"],
        "patient": patient["name"][0]["text"],
        "patient_id": patient["identifier"][0]["value"],
        "accession": data["basedOn"][0]["identifier"]["value"],
        "impression": data["conclusion"],
    }


class Receiver(BaseHTTPRequestHandler):
    secrets: dict[str, str]

    def do_POST(self) -> None:
        site = self.path.strip("/")
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(min(length, BODY_LIMIT))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            payload = Webhook(self.secrets[site]).verify(body, headers)
        except (WebhookVerificationError, KeyError):
            self.send_error(401, "signature not valid")
            return
        with one_line_at_a_time:
            print(json.dumps(summary(site, headers["webhook-id"], payload)), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver)
    print(json.dumps({"port": server.server_port}), flush=True)
    Receiver.secrets = json.loads(sys.stdin.readline())
    server.serve_forever()


if __name__ == "__main__":
    main()
