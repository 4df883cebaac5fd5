"""X.509-SVIDs fetched by the PyPI package `spiffe`, as fast as its threads can.

Usage: fetch_x509.py SOCKET THREADS CALLS. Each thread has a client of its own; a call is a new stream. Prints one JSON
object.
"""

import json
import sys
import threading
import time

from spiffe import WorkloadApiClient


def main():
    socket, threads, calls = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    took, lock, begin = [], threading.Lock(), threading.Barrier(threads + 1)

    def work(count):
        mine = []
        with WorkloadApiClient(socket) as client:
            client.fetch_x509_svid()
            begin.wait()
            for _ in range(count):
                start = time.perf_counter()
                client.fetch_x509_svid()
                mine.append(time.perf_counter() - start)
        with lock:
            took.extend(mine)

    workers = [threading.Thread(target=work, args=(calls // threads,)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    begin.wait()
    started = time.perf_counter()
    for worker in workers:
        worker.join()
    elapsed = time.perf_counter() - started
    assert len(took) == calls // threads * threads, "a call failed"
    took.sort()
    at = lambda share: took[min(len(took) - 1, int(len(took) * share))] * 1e3
    print(json.dumps({"calls": len(took), "per_second": len(took) / elapsed, "p50_ms": at(0.5), "p99_ms": at(0.99)}))


main()
