"""A receiver that leaves the check to the public package of PyPI, and prints what passed it."""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

WEBHOOK = Webhook(os.environ["WEBHOOK_SECRET"])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = WEBHOOK.verify(body, headers)
            data = event["data"]
            print(event["type"], data["openid"], data["external_userid"], headers["webhook-id"], flush=True)
            self.send_response(204)
        except WebhookVerificationError as error:
            print(error, file=sys.stderr, flush=True)
            self.send_response(401)
        self.end_headers()


server = HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver)
print("listening", server.server_port, flush=True)
server.serve_forever()
