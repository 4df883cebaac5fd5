"""A relying party: OpenID Connect discovery and a JWT-SVID, checked by the PyPI package PyJWT.

Usage: oidc_discovery.py HTTPS ISSUER ROOT_PEM EXPECTED_ID TOKEN. Prints one JSON object; any failed check is an
exception and exit 1.
"""

import json
import ssl
import sys
import urllib.error
import urllib.request

import jwt


def main():
    https, issuer, root, expected, token = sys.argv[1:6]
    context = ssl.create_default_context(cafile=root)

    def get(url, headers=None):
        request = urllib.request.Request(url, headers=headers or {})
        return urllib.request.urlopen(request, context=context, timeout=20)

    # Whoever knows the issuer finds the rest: it is in the token, and trusted only because it was expected.
    claimed = jwt.decode(token, options={"verify_signature": False})["iss"]
    assert claimed == issuer, claimed
    with get(issuer + "/.well-known/openid-configuration") as reply:
        assert reply.headers["content-type"] == "application/json", reply.headers
        metadata = json.load(reply)
    assert metadata["issuer"] == issuer, metadata

    client = jwt.PyJWKClient(metadata["jwks_uri"], ssl_context=context)
    key = client.get_signing_key_from_jwt(token)
    algorithms = metadata["id_token_signing_alg_values_supported"]
    claims = jwt.decode(token, key.key, algorithms=algorithms, audience="backend", issuer=issuer)
    assert claims["sub"] == expected, claims

    refusals = {}
    for name, wrong in {"audience": {"audience": "other"}, "issuer": {"issuer": https}}.items():
        arguments = {"audience": "backend", "issuer": issuer, **wrong}
        try:
            jwt.decode(token, key.key, algorithms=algorithms, **arguments)
        except jwt.InvalidTokenError as error:
            refusals[name] = str(error)
        else:
            raise AssertionError(f"another {name} was accepted")

    # The other issuer has no key for it.
    with get(https + "/.well-known/oauth-authorization-server") as reply:
        other = json.load(reply)
    assert other["issuer"] == https, other
    with get(other["jwks_uri"]) as reply:
        assert json.load(reply) == {"keys": []}

    # What is held already is not sent again.
    with get(https + "/bundle") as reply:
        etag, bundle = reply.headers["etag"], json.load(reply)
    assert {key["use"] for key in bundle["keys"]} == {"x509-svid", "jwt-svid", "wit-svid"}, bundle
    try:
        get(https + "/bundle", {"If-None-Match": etag})
    except urllib.error.HTTPError as error:
        assert error.code == 304, error
    else:
        raise AssertionError("the bundle was sent again")
    print(json.dumps({"sub": claims["sub"], "kid": key.key_id, "sequence": bundle["spiffe_sequence"], "refusals": refusals}))


if __name__ == "__main__":
    main()
