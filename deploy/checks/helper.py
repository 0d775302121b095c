"""What the checks need beside kfbind: a name server, and a WeCom that refuses everybody. Standard library only.

    helper.py dns ADDRESS NAME      answers for NAME with 127.0.0.1, on port 53; prints each question
    helper.py wecom [CERT KEY]      HTTP on a free port, HTTPS with a certificate; prints the port, then each request
"""

import http.server
import json
import socket
import ssl
import sys


def dns(address: str, name: str) -> None:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    print("ready", flush=True)
    while True:
        query, peer = server.recvfrom(512)
        end = query.index(b"\0", 12) + 5
        question, kind = query[12:end], query[end - 4 : end - 2]
        print(question, kind, flush=True)
        is_ours = question[:-4].lower() == labels
        has_answer = is_ours and kind == b"\0\x01"
        head = query[:2] + (b"\x81\x80" if is_ours else b"\x81\x83") + b"\0\1" + bytes([0, has_answer]) + b"\0\0\0\0"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x7f\0\0\1" if has_answer else b""
        server.sendto(head + question + answer, peer)


class Wecom(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"errcode": 40001, "errmsg": "invalid credential"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        print(self.headers.get("Host"), self.path.split("?")[0], flush=True)


def wecom(*files: str) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Wecom)
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    {"dns": dns, "wecom": wecom}[sys.argv[1]](*sys.argv[2:])
