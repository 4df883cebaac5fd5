"""Sources of the PyPI packages `spiffe` and `spiffe-tls` while their SVIDs rotate.

A server and a client in one process call each other over mutual TLS without a pause until ROTATIONS new
certificates have arrived; no call may fail. Usage: across_rotation.py SOCKET EXPECTED_ID ROTATIONS DEADLINE_S.
Prints one JSON object.
"""

import json
import logging
import queue
import sys
import threading
import time

from spiffe import JwtSource, SpiffeId, WorkloadApiClient, X509Source
from spiffetls import ListenOptions, ServerTlsMode, dial, listen
from spiffetls.tlsconfig.authorize import authorize_id


def serve(source, expected, ports, failures):
    """Answers one call per listener, each on a port of its own, so that every call shows the newest certificate."""
    options = ListenOptions(tls_mode=ServerTlsMode.MTLS, authorize_fn=authorize_id(expected))
    while True:
        listener = listen("127.0.0.1:0", source, options)
        ports.put(listener.getsockname()[1])
        try:
            connection, _ = listener.accept()
            connection.do_handshake()
            connection.sendall(connection.recv(64))
            connection.shutdown()
            connection.close()
        except Exception as error:
            failures.append(f"server: {error!r}")
        finally:
            listener.close()


def main():
    path, expected, rotations, deadline_s = sys.argv[1], SpiffeId(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    # spiffe-tls updates contexts that are in use, which its OpenSSL binding refuses with a logged traceback; each
    # call here has a context of its own, so that nothing depends on it.
    logging.disable(logging.CRITICAL)
    client = WorkloadApiClient(path, default_timeout=20)
    x509 = X509Source(client, timeout_in_seconds=20)
    jwt = JwtSource(WorkloadApiClient(path), timeout_in_seconds=20)
    ports, failures = queue.Queue(), []
    threading.Thread(target=serve, args=(x509, expected, ports, failures), daemon=True).start()
    serials, calls, tokens = [], 0, 0
    end = time.monotonic() + deadline_s
    while len(serials) <= rotations and not failures and time.monotonic() < end:
        serial = x509.get_x509_context().default_svid.leaf.serial_number
        if serial not in serials:
            serials.append(serial)
            token = jwt.fetch_svid(audience={"rotation"}, subject=expected)
            assert str(client.validate_jwt_svid(token.token, "rotation").spiffe_id) == str(expected)
            tokens += 1
        connection = dial(f"127.0.0.1:{ports.get(timeout=20)}", x509, authorize_fn=authorize_id(expected))
        connection.sendall(b"ping")
        assert connection.recv(64) == b"ping"
        connection.close()
        calls += 1
    print(json.dumps({"calls": calls, "tokens": tokens, "certificates": len(serials), "failures": failures[:5]}))
    assert not failures, "calls failed"
    assert len(serials) > rotations, f"saw {len(serials)} certificates in {deadline_s} s"
    assert calls > rotations


main()
