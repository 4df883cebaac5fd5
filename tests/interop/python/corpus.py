"""Judges the corpus with PyPI `cryptography`, `PyJWT`, `joserfc` and `spiffe`.

Usage: corpus.py DIR, the folder of manifest.json. Prints a JSON list of judges with their verdicts: null where a file
is taken, else what was said. A library that has no clock to set is given the time of the file in place of its own.
"""

import base64
import datetime
import json
import sys
import types
from importlib.metadata import version
from pathlib import Path

import jwt
import jwt.api_jwt
import spiffe.svid.jwt_svid_validator
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store
from joserfc import jwt as jose
from joserfc.jwk import KeySet
from spiffe import JwtBundle, JwtSvid, TrustDomain

ALGORITHMS = [family + size for family in ("RS", "ES", "PS") for size in ("256", "384", "512")]
REQUIRED = ["sub", "aud", "exp"]
# What Signet allows its own domain.
LEEWAY_S = 5


class Refused(Exception):
    """A verdict that the library leaves to its caller."""


def split(concatenated):
    """The certificates that stand one after the other: DER tells how long each is."""
    found = []
    while concatenated:
        head, size = 2, concatenated[1]
        if size > 0x80:
            head += size - 0x80
            size = int.from_bytes(concatenated[2:head], "big")
        found.append(concatenated[: head + size])
        concatenated = concatenated[head + size :]
    return found


def set_clock(now):
    """For the libraries that ask the system."""

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return now.astimezone(tz)

    jwt.api_jwt.datetime = Clock
    fake = types.SimpleNamespace(datetime=Clock, timezone=datetime.timezone)
    spiffe.svid.jwt_svid_validator.datetime = fake


class Corpus:
    def __init__(self, directory):
        self.directory = directory
        self.cases = json.loads((directory / "manifest.json").read_text())["cases"]
        self.by_file = {case["file"]: case for case in self.cases}

    def bytes(self, name):
        return (self.directory / name).read_bytes()

    def bundles(self, case):
        return {domain: json.loads(self.bytes(file)) for domain, file in case.get("bundles", {}).items()}

    def keys(self, case, use):
        """The keys of all bundles: most libraries know one pool."""
        return [key for bundle in self.bundles(case).values() for key in bundle["keys"] if key["use"] == use]


# X.509.


def chain_cryptography(corpus, case, data, now):
    roots = [
        x509.load_der_x509_certificate(base64.b64decode(key["x5c"][0])) for key in corpus.keys(case, "x509-svid")
    ]
    certificates = [x509.load_der_x509_certificate(der) for der in split(data)]
    if not certificates:
        raise Refused("no certificates")
    verifier = PolicyBuilder().store(Store(roots)).time(now.replace(tzinfo=None)).build_client_verifier()
    verifier.verify(certificates[0], certificates[1:])


def request_cryptography(_corpus, _case, data, _now):
    request = x509.load_der_x509_csr(data)
    if not request.is_signature_valid:
        raise Refused("is_signature_valid is false")
    # Extensions are read when they are asked for, and not before.
    list(request.extensions)


# Tokens. Each library is called as its documentation says, by a caller who forgets nothing.


def with_pyjwt(token, keys, case):
    kid = jwt.get_unverified_header(token)["kid"]
    jwt.decode(
        token,
        jwt.PyJWKSet.from_dict({"keys": keys})[kid],
        algorithms=ALGORITHMS,
        audience=case["audience"],
        leeway=LEEWAY_S,
        options={"require": REQUIRED},
    )


def with_joserfc(token, keys, case, now):
    decoded = jose.decode(token, KeySet.import_key_set({"keys": keys}), algorithms=ALGORITHMS)
    jose.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_S,
        sub={"essential": True},
        aud={"essential": True, "value": case["audience"]},
        exp={"essential": True},
    ).validate(decoded.claims)


def with_spiffe(token, bundles, case):
    """The subject's own domain names the bundle."""
    audience = {case["audience"]}
    domain = JwtSvid.parse_insecure(token, audience).spiffe_id.trust_domain
    if domain.name not in bundles:
        raise Refused(f"no bundle for {domain.name}")
    JwtSvid.parse_and_validate(token, JwtBundle.parse(domain, json.dumps(bundles[domain.name]).encode()), audience)


def token_pyjwt(corpus, case, data, _now):
    with_pyjwt(data.decode(), corpus.keys(case, "jwt-svid"), case)


def token_joserfc(corpus, case, data, now):
    # It refuses keys with the use of the standard: it is given what readers of OpenID Connect are given.
    with_joserfc(data.decode(), [{**key, "use": "sig"} for key in corpus.keys(case, "jwt-svid")], case, now)


def token_spiffe(corpus, case, data, _now):
    # It reads a JWK set and passes over no use: it is given the keys that are for tokens.
    bundles = {
        domain: {"keys": [key for key in bundle["keys"] if key["use"] == "jwt-svid"]}
        for domain, bundle in corpus.bundles(case).items()
    }
    with_spiffe(data.decode(), bundles, case)


# Bundles, which these read as JWK sets; then the token that is to be checked against them, where there is one.


def then_token(corpus, case):
    then = corpus.by_file.get(case.get("then"))
    return (corpus.bytes(then["file"]).decode(), then) if then and then["kind"] == "token" else None


def bundle_pyjwt(corpus, case, data, _now):
    document = json.loads(data)
    jwt.PyJWKSet.from_dict(document)
    if then := then_token(corpus, case):
        with_pyjwt(then[0], document["keys"], then[1])


def bundle_joserfc(corpus, case, data, now):
    document = json.loads(data)
    KeySet.import_key_set(document)
    if then := then_token(corpus, case):
        with_joserfc(then[0], document["keys"], then[1], now)


def bundle_spiffe(corpus, case, data, _now):
    JwtBundle.parse(TrustDomain("example.org"), data)
    if then := then_token(corpus, case):
        with_spiffe(then[0], {"example.org": json.loads(data)}, then[1])


JUDGES = {
    "cryptography": {"chain": chain_cryptography, "request": request_cryptography},
    "PyJWT": {"token": token_pyjwt, "bundle": bundle_pyjwt},
    "joserfc": {"token": token_joserfc, "bundle": bundle_joserfc},
    "spiffe": {"token": token_spiffe, "bundle": bundle_spiffe},
}


def verdict(judge, corpus, case):
    now = datetime.datetime.fromisoformat(case["now"].replace("Z", "+00:00"))
    set_clock(now)
    try:
        judge(corpus, case, corpus.bytes(case["file"]), now)
        return None
    except Refused as error:
        return str(error)
    except Exception as error:  # whatever a library says is its verdict; how it says it is shown
        return f"{type(error).__name__}: {error}"


def main():
    corpus = Corpus(Path(sys.argv[1]))
    judges = []
    for name, kinds in JUDGES.items():
        verdicts = {
            case["file"]: verdict(kinds[case["kind"]], corpus, case) for case in corpus.cases if case["kind"] in kinds
        }
        judges.append({"column": name, "tool": f"PyPI `{name}` {version(name)}", "verdicts": verdicts})
    print(json.dumps(judges))


main()
