"""Sources of the PyPI packages `spiffe` and `spiffe-tls` while their SVIDs rotate.

A server and a client in one process call each other over mutual TLS without a pause until ROTATIONS new
certificates have arrived. Usage: across_rotation.py SOCKET EXPECTED_ID ROTATIONS DEADLINE_S. Prints one JSON object.
"""

import json
import socket
import sys
import threading
import time

from OpenSSL import SSL
from spiffe import JwtSource, SpiffeId, WorkloadApiClient, X509Source
from spiffetls import ListenOptions, dial, listen
from spiffetls.mode import ServerTlsMode
from spiffetls.tlsconfig.authorize import authorize_id


def serve(source, expected, state):
    """Answers one line per connection; a context per connection, so that each shows the newest certificate."""
    while not state["stop"]:
        listener = listen(
            f"127.0.0.1:{state['port']}",
            source,
            ListenOptions(tls_mode=ServerTlsMode.MTLS, authorize_fn=authorize_id(SpiffeId(expected))),
        )
        if state["port"] == 0:
            state["port"] = listener.getsockname()[1]
            state["ready"].set()
        try:
            connection, _ = listener.accept()
            connection.do_handshake()
            connection.sendall(connection.recv(64))
            connection.shutdown()
            connection.close()
        except SSL.Error as error:
            state["server_errors"].append(repr(error))
        finally:
            listener.close()
            state["turn"].set()


def main():
    path, expected, rotations, deadline_s = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    client = WorkloadApiClient(path, default_timeout=20)
    x509, jwt = X509Source(client, timeout_in_seconds=20), JwtSource(WorkloadApiClient(path), timeout_in_seconds=20)
    state = {"stop": False, "port": 0, "ready": threading.Event(), "turn": threading.Event(), "server_errors": []}
    server = threading.Thread(target=serve, args=(x509, expected, state), daemon=True)
    server.start()
    assert state["ready"].wait(20)
    serials, calls, tokens, errors = [], 0, 0, []
    end = time.monotonic() + deadline_s
    while len(serials) <= rotations and time.monotonic() < end:
        serial = x509.svid.leaf.serial_number
        if serial not in serials:
            serials.append(serial)
            token = jwt.fetch_svid(audience={"rotation"}, subject=SpiffeId(expected))
            client.validate_jwt_svid(token.token, "rotation")
            tokens += 1
        state["turn"].clear()
        try:
            connection = dial(f"127.0.0.1:{state['port']}", x509, authorize_fn=authorize_id(SpiffeId(expected)))
            connection.sendall(b"ping")
            assert connection.recv(64) == b"ping"
            connection.close()
            calls += 1
        except ConnectionRefusedError:
            # The one-connection listener is between two turns; nothing was lost.
            pass
        except Exception as error:
            if isinstance(error.__cause__, (ConnectionRefusedError, socket.error)):
                continue
            errors.append(repr(error))
        state["turn"].wait(5)
    state["stop"] = True
    print(json.dumps({"calls": calls, "tokens": tokens, "certificates": len(serials), "errors": errors[:5], "server_errors": state["server_errors"][:5]}))
    assert len(serials) > rotations, f"saw {len(serials)} certificates in {deadline_s} s"
    assert not errors and not state["server_errors"], "calls failed"
    assert calls > rotations


main()
