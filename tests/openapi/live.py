"""Runs the service beside the demo's simulator and holds it against its own description.

Starts both on loopback, logs a user and an employee in, binds a few people, has the document validated and then
schemathesis ask all that the document allows and much that it doesn't. Closes with "N passed, N failed".
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import xml.etree.ElementTree as xml
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
OUT = ROOT / "target" / "openapi"
DEADLINE_S = 30
ADMIN_KEY = "openapi-admin-key-0123456789"
CUSTOMERS = ["小李", "小王", "小陈", "小赵", "小孙"]

# The simulator's, see src/sim/options.rs.
CONFIG = """
[server]
listen = "127.0.0.1:0"
[store]
path = "{store}"
[wecom]
corp_id = "wwFAKEcorp00000001"
secret = "fake-app-secret-fake-app-secret-fake-app-se"
staff_secret = "fake-staff-secret-fake-staff-secret-fake-st"
token = "FAKEcallbackTOKEN"
encoding_aes_key = "fakeFAKEfakeFAKEfakeFAKEfakeFAKEfakeFAKEfal"
api_base = "{simulator}"
[miniprogram]
app_id = "wxFAKEapp000000001"
secret = "fake0app0secret0fake0app0secret0"
api_base = "{simulator}"
[binding]
methods = ["code", "link", "card", "unionid", "window", "staff"]
[limits]
logins_per_ip = "1000000/1m"
codes_per_openid = "{codes}"
wrong_codes_per_customer = "{codes}"
[admin]
api_key = "{admin_key}"
"""


def started(program, *arguments, line, stream, log):
    """Starts the program; it, and what the line says that it waits for."""
    pipes = {"stdout": log, "stderr": log, stream: subprocess.PIPE}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KFBIND_")}
    process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, env=environment, **pipes)
    pipe = getattr(process, stream)
    if found := awaited(pipe, line, log):
        return process, pipe, found
    sys.exit(f"{' '.join(arguments)} ended before it was ready, see {log.name}")


def awaited(pipe, line, log):
    """Reads on until a line says what is waited for."""
    while text := pipe.readline().decode():
        log.write(text.encode())
        log.flush()
        if found := re.search(line, text):
            return found
    return None


def ask(method, url, body=None, bearer=None):
    """The status and the JSON of an answer."""
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if bearer:
        headers["Authorization"] = f"Bearer {bearer}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


def expect(status, answer):
    if answer[0] != status:
        sys.exit(f"wanted {status}, got {answer}")
    return answer[1]


def until_ready(base):
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        status, body = ask("GET", f"{base}/readyz", bearer=ADMIN_KEY)
        if status == 200 and body["accounts"]:
            return
        time.sleep(0.1)
    sys.exit(f"not ready: {status} {body}")


class World:
    """Who is there: sessions, and ids that exist."""

    def __init__(self, base, stage):
        self.base, self.stage = base, stage
        code = expect(200, ask("POST", f"{stage}/demo/staff-login", {}))["code"]
        self.staff = expect(200, ask("POST", f"{base}/api/staff/login", {"code": code}))["session"]
        self.openids, self.customers = [], []
        for name in CUSTOMERS:
            self.bind(name)
        self.user = self.login("小吴")
        cards = [self.card(customer) for customer in self.customers[-2:]]
        self.tickets = [card["ticket"] for card in cards]
        self.codes = [expect(201, self.issue(self.login(name)))["bind_token"] for name in ["小周", "小郑"]]

    def login(self, name):
        code = expect(200, ask("POST", f"{self.stage}/demo/login", {"customer": name}))["code"]
        return expect(200, ask("POST", f"{self.base}/api/login", {"code": code}))["session"]

    def bind(self, name):
        session = self.login(name)
        issued = self.issue(session)
        customer = expect(200, ask("POST", f"{self.stage}/demo/staff-customer", {"customer": name}))
        # WeCom knows of a customer only who has written.
        ask("POST", f"{self.stage}/demo/say", {"customer": name, "text": "你好"})
        self.customers.append(customer["external_userid"])
        if issued[0] == 409:
            return
        code = expect(201, issued)["bind_token"]
        body = {"external_userid": customer["external_userid"], "code": code}
        bound = ask("POST", f"{self.base}/api/staff/bindings", body, self.staff)
        if bound[0] == 200:
            self.openids.append(bound[1]["openid"])

    def issue(self, session):
        return ask("POST", f"{self.base}/api/binding/token", {}, session)

    def card(self, customer):
        return expect(201, ask("POST", f"{self.base}/api/staff/tickets", {"external_userid": customer}, self.staff))

    def known(self):
        return {
            "openid": self.openids,
            "external_userid": self.customers,
            "ticket": self.tickets,
            "code": self.codes,
        }


def document_is_valid(base):
    with urllib.request.urlopen(f"{base}/openapi.json", timeout=DEADLINE_S) as answer:
        document = answer.read()
    file = OUT / "openapi.json"
    file.write_bytes(document)
    ended = subprocess.run([Path(sys.executable).with_name("openapi-spec-validator"), "--schema", "3.1", file])
    return ended.returncode == 0


def questions_answered(base, world, options):
    """Runs schemathesis; how many of its scenarios passed and failed."""
    report = OUT / "schemathesis.xml"
    report.unlink(missing_ok=True)
    # Where it keeps what failed before; each run is one of its own.
    shutil.rmtree(OUT / ".schemathesis", ignore_errors=True)
    environment = {
        **os.environ,
        "KFBIND_KNOWN": json.dumps(world.known()),
        "USER_SESSION": world.user,
        "STAFF_SESSION": world.staff,
        "ADMIN_KEY": ADMIN_KEY,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(OUT / "hypothesis"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py"),
        "KFBIND_STAGE": world.stage,
    }
    command = [
        *[Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml"],
        *["run", f"{base}/openapi.json", "--no-color", "--generation-database", "none"],
        *["--report", "junit,ndjson", "--report-junit-path", report, "--report-ndjson-path", OUT / "schemathesis.ndjson"],
        *["--max-examples", str(options.max_examples), "--seed", str(options.seed)],
        *(["--max-time", str(options.max_time)] if options.max_time else []),
        *options.more,
    ]
    ended = subprocess.run(list(map(str, command)), env=environment, cwd=OUT)
    if not report.exists():
        return 0, 1
    cases = xml.parse(report).getroot().findall(".//testcase")
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    if ended.returncode and not failed:
        failed = 1
    return len(cases) - failed, failed


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--max-examples", type=int, default=20, help="cases of each operation and phase")
    options.add_argument("--seed", type=int, default=17)
    options.add_argument("--max-time", type=int, help="repeat until so many seconds are over")
    options.add_argument("--low-limits", action="store_true", help="let the limits of codes be reached")
    options.add_argument("more", nargs="*", help="what else schemathesis is told, behind --")
    options = options.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    program = ROOT / "target" / "debug" / "kfbind"
    processes = []
    with tempfile.TemporaryDirectory(prefix="kfbind-openapi-") as folder:
        demo_log, log = open(OUT / "demo.log", "wb"), open(OUT / "service.log", "wb")
        try:
            demo, demo_pipe, found = started(
                program, "demo", "--port", "0", line=r"open (http://[^/]+)/", stream="stdout", log=demo_log
            )
            processes.append(demo)
            stage = found[1]
            simulator = awaited(demo_pipe, r"is at (http://\S+);", demo_log)[1]
            config = Path(folder, "config.toml")
            codes = "5/1m" if options.low_limits else "1000000/1m"
            config.write_text(
                CONFIG.format(store=f"{folder}/data", simulator=simulator, codes=codes, admin_key=ADMIN_KEY)
            )
            service, service_pipe, found = started(
                program, "serve", "--config", str(config), line=r"listening addr=(\S+)", stream="stderr", log=log
            )
            processes.append(service)
            # Somebody must read on, or the service would wait for its log.
            drain = subprocess.Popen(["cat"], stdin=service_pipe, stdout=log)
            base = f"http://{found[1]}"
            until_ready(base)
            world = World(base, stage)
            passed, failed = 0, 0
            for fine in [document_is_valid(base)]:
                passed, failed = passed + fine, failed + (not fine)
            answered = questions_answered(base, world, options)
            passed, failed = passed + answered[0], failed + answered[1]
            # Whatever was asked, it is still there, and none of its handlers gave up on the way.
            until_ready(base)
            service.terminate()
            unharmed = service.wait(DEADLINE_S) == 0
            drain.wait(DEADLINE_S)
            unharmed &= not re.search(r"panic|\bERROR\b", (OUT / "service.log").read_text())
            print("the service ended well" if unharmed else f"the service's log has errors: {OUT}/service.log")
            passed, failed = passed + unharmed, failed + (not unharmed)
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(DEADLINE_S)
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
