"""All five X.509 and JWT calls of the Workload API, made by the PyPI package `spiffe`.

Usage: five_calls.py SOCKET EXPECTED_ID. Prints one JSON object; any failed check is an exception and exit 1.
"""

import json
import sys

from spiffe import SpiffeId, TrustDomain, WorkloadApiClient
from spiffe.workloadapi.errors import WorkloadApiError


def refused(call, what):
    """The call must fail with an error of the client's own kind."""
    try:
        call()
    except WorkloadApiError as error:
        return str(error)
    except Exception as error:  # the client's argument checks have types of their own
        return f"{type(error).__name__}: {error}"
    raise AssertionError(f"{what} was not refused")


def main():
    socket, expected = sys.argv[1], sys.argv[2]
    domain = SpiffeId(expected).trust_domain
    with WorkloadApiClient(socket, default_timeout=20) as client:
        svid = client.fetch_x509_svid()
        assert str(svid.spiffe_id) == expected, svid.spiffe_id
        assert len(svid.cert_chain) >= 2, "leaf and intermediate"

        context = client.fetch_x509_context()
        assert str(context.default_svid.spiffe_id) == expected
        roots = context.x509_bundle_set.get_bundle_for_trust_domain(domain).x509_authorities
        assert roots, "the own domain has roots"

        bundles = client.fetch_x509_bundles()
        assert bundles.get_bundle_for_trust_domain(domain).x509_authorities == roots

        jwt = client.fetch_jwt_svid(audience={"backend", "second"}, subject=SpiffeId(expected))
        assert str(jwt.spiffe_id) == expected
        assert set(jwt.audience) == {"backend", "second"}, jwt.audience

        keys = client.fetch_jwt_bundles().get_bundle_for_trust_domain(domain)
        assert keys is not None and keys.jwt_authorities, "the own domain has JWT keys"

        valid = client.validate_jwt_svid(jwt.token, "backend")
        assert str(valid.spiffe_id) == expected
        refusals = {
            "audience": refused(lambda: client.validate_jwt_svid(jwt.token, "other"), "another audience"),
            "token": refused(lambda: client.validate_jwt_svid(jwt.token[:-4] + "AAAA", "backend"), "a broken signature"),
            "subject": refused(
                lambda: client.fetch_jwt_svid(audience={"a"}, subject=SpiffeId(f"spiffe://{domain.name}/not/mine")),
                "another's ID",
            ),
        }
        assert TrustDomain(domain.name) == domain
        print(json.dumps({"id": expected, "chain": len(svid.cert_chain), "roots": len(roots), "refusals": refusals}))


main()
