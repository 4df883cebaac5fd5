"""Judges a chain and a token with PyPI `cryptography` and `PyJWT`.

Usage: chains.py DIR ID ALG. DIR holds what `signet svid x509 --write` leaves, `token` and `jwks.json`; ALG is the
token's algorithm. Prints one JSON object; any failed check is an exception and exit 1.
"""

import json
import sys
from datetime import datetime, timezone
from pathlib import Path

import cryptography
import jwt
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError


def spki(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def by_hand(chain, roots):
    """Each certificate is signed by the next, and the last by one of the roots, which sign themselves."""
    for certificate, issuer in zip(chain, chain[1:]):
        certificate.verify_directly_issued_by(issuer)
    signers = [root for root in roots if root.subject == chain[-1].issuer]
    assert len(signers) == 1, "one root has the issuer's name"
    chain[-1].verify_directly_issued_by(signers[0])
    for root in roots:
        root.verify_directly_issued_by(root)
    now = datetime.now(timezone.utc)
    for certificate in [*chain, *signers]:
        assert certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def refuses(directory, roots):
    """The spoilt chains, for their signatures."""
    files = sorted((directory / "spoilt").glob("*.pem"))
    assert files, "no spoilt chains"
    for file in files:
        try:
            by_hand(x509.load_pem_x509_certificates(file.read_bytes()), roots)
        except InvalidSignature:
            continue
        raise AssertionError(f"{file} was accepted")
    return len(files)


def by_verifier(chain, roots):
    """The path builder, which holds to the algorithms of the web and says so of others."""
    verifier = PolicyBuilder().store(Store(roots)).build_client_verifier()
    try:
        return f"path of {len(verifier.verify(chain[0], chain[1:]).chain)}"
    except VerificationError as error:
        if "Forbidden" not in str(error):
            raise
        return "not an algorithm of the web"


def token(directory, expected, algorithm):
    text = (directory / "token").read_text().strip()
    assert jwt.get_unverified_header(text)["alg"] == algorithm
    keys = jwt.PyJWKSet.from_dict(json.loads((directory / "jwks.json").read_text()))
    key = keys[jwt.get_unverified_header(text)["kid"]]
    assert key.algorithm_name == algorithm, key.algorithm_name
    claims = jwt.decode(text, key, algorithms=[algorithm], audience="interop")
    assert claims["sub"] == expected, claims
    head, _, signature = text.rpartition(".")
    try:
        jwt.decode(f"{head}.{'A' * len(signature)}", key, algorithms=[algorithm], audience="interop")
    except jwt.InvalidSignatureError:
        return f"{algorithm} with {type(key.key).__name__}"
    raise AssertionError("a token with another signature was accepted")


def main():
    directory, expected, algorithm = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    chain = x509.load_pem_x509_certificates((directory / "svid.pem").read_bytes())
    roots = x509.load_pem_x509_certificates((directory / "bundle.pem").read_bytes())
    names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [expected]
    key = load_pem_private_key((directory / "svid.key").read_bytes(), None)
    assert spki(key.public_key()) == spki(chain[0].public_key()), "the key of this certificate"
    by_hand(chain, roots)
    try:
        chain[0].verify_directly_issued_by(roots[0])
        raise AssertionError("a leaf was taken for its root's own")
    except (ValueError, InvalidSignature):
        pass
    print(
        json.dumps(
            {
                "cryptography": cryptography.__version__,
                "verifier": by_verifier(chain, roots),
                "refused": refuses(directory, roots),
                "token": token(directory, expected, algorithm),
            }
        )
    )


main()
