"""The administration API against its own OpenAPI document, by the PyPI package schemathesis.

Usage: admin_api.py SOCKET TRUST_DOMAIN DIR. Prints one JSON object; anything found is told and is exit 1.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The same requests each time, and as many as take a minute or two.
SEED, EXAMPLES = "20260301", "40"


def relay(path):
    """Carries TCP connections of this machine to the UNIX socket `path`; returns the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # One side went away in the middle: the other has to see that as well.
            for one in (source, target):
                try:
                    one.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def serve(client):
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            back = threading.Thread(target=carry, args=(server, client), daemon=True)
            back.start()
            carry(client, server)
            back.join()

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    path, trust_domain, directory = sys.argv[1:4]
    url = f"http://127.0.0.1:{relay(path)}/api/v1/openapi.json"
    report = Path(directory) / "schemathesis.json"
    command = [Path(sys.executable).parent / "schemathesis"]
    command += ["--config-file", HERE / "admin_api.toml", "run", url, "--seed", SEED, "--max-examples", EXAMPLES]
    command += ["--generation-database", "none", "--continue-on-failure"]
    command += ["--report", "json", "--report-json-path", report]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "admin_api_hooks",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIGNET_TRUST_DOMAIN": trust_domain,
        "NO_COLOR": "1",
    }
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    print(json.dumps(summary(json.loads(report.read_text()))))


def summary(report):
    """What was done, for the line of the scenario; what was left out is no success."""
    operations, phases, cases = report["operations"], report["phases"], report["test_cases"]
    assert report["complete"] and operations["tested"] == operations["total"] > 10, operations
    states = {name: phase["status"] for name, phase in phases.items()}
    assert states == dict.fromkeys(("examples", "coverage", "fuzzing", "stateful"), "success"), states
    assert cases["generated"] > 1000 and cases["without_checks"] == 0, cases
    return {"operations": operations["tested"], "requests": cases["generated"]}


if __name__ == "__main__":
    main()
