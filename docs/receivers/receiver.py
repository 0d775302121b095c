"""Receives kfbind's webhooks with Python alone (3.9 or later): WEBHOOK_SECRET=whsec_… PORT=9000 python3 receiver.py"""
import base64, hashlib, hmac, json, os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
if len(KEY) < 24:
    raise SystemExit("set WEBHOOK_SECRET to webhooks.secret")
seen = set()  # In production a table, in one transaction with what the event changes.

def is_genuine(id, timestamp, signatures, body):
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > 300:  # Five minutes.
        return False
    expected = b"v1," + base64.b64encode(hmac.digest(KEY, f"{id}.{timestamp}.".encode() + body, hashlib.sha256))
    return any(hmac.compare_digest(one, expected) for one in signatures.encode().split(b" "))

class Receiver(BaseHTTPRequestHandler):
    def do_HEAD(self):  # `kfbind check --online` asks whether somebody is here.
        self.send_response(204)
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))  # The very bytes that were signed.
        id, timestamp, signatures = (self.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
        genuine = is_genuine(id, timestamp, signatures, body)
        if genuine and id not in seen:
            event = json.loads(body)  # Do here what the event means.
            print(event["type"], event["data"]["openid"], event["data"]["external_userid"], id, flush=True)
            seen.add(id)
        self.send_response(204 if genuine else 401)
        self.end_headers()

server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", 9000))), Receiver)
print("listening", server.server_port, flush=True)
server.serve_forever()
