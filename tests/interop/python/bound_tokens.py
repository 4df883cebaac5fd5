"""WIT-SVIDs fetched with grpcio alone, judged by PyJWT and joserfc, and proven to Signet's own verifier.

The methods and messages come from the endpoint's own description (server reflection), so nothing of Signet is compiled in.

Usage: bound_tokens.py SOCKET EXPECTED_ID SIGNET_BINARY. Prints one JSON object; any failed check is an exception and
exit 1.
"""

import base64
import hashlib
import json
import subprocess
import sys
import time
import uuid

import grpc
import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt
from joserfc.errors import JoseError

SERVICE = "SpiffeWorkloadAPI"
METADATA = [("workload.spiffe.io", "true")]
AUDIENCE = "https://orders.example"


class WorkloadApi:
    """The endpoint, with methods made of its own description."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(socket)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        assert SERVICE in database.get_services(), "the service is described"
        self.service = DescriptorPool(database).FindServiceByName(SERVICE)

    def stream(self, name, metadata=METADATA, **fields):
        """The messages of a streaming method."""
        method = self.service.FindMethodByName(name)
        request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        call = self.channel.unary_stream(
            f"/{SERVICE}/{name}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return call(request(**fields), metadata=metadata, timeout=60)

    def refused(self, name, code, metadata=METADATA, **fields):
        """The method must end with this status, and with no message before."""
        try:
            message = next(self.stream(name, metadata, **fields))
        except grpc.RpcError as error:
            assert error.code() == code, f"{name} {fields}: {error.code()}"
            return
        raise AssertionError(f"{name} {fields} was answered: {message}")


def part(token, number):
    text = token.split(".")[number]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def digest(token):
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def proof_claims(token, **changes):
    claims = {"aud": AUDIENCE, "exp": int(time.time()) + 30, "jti": uuid.uuid4().hex, "wth": digest(token)}
    return {**claims, **changes}


def proof(key, token, typ="wpt+jwt", **changes):
    """A workload proof token by PyJWT."""
    return pyjwt.encode(proof_claims(token, **changes), key, algorithm="ES256", headers={"typ": typ})


class Signet:
    """The command line, whose verifier is the judge."""

    def __init__(self, binary, socket):
        self.binary, self.socket = binary, socket

    def run(self, *args):
        command = [self.binary, "svid", *args, "--socket", self.socket, "-o", "json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def proven(self, token, offered, expected):
        done = self.run("validate-wit", "--audience", AUDIENCE, token, offered)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["spiffe_id"] == expected, done.stdout

    def refuses(self, code, what, *args):
        done = self.run(*args)
        assert done.returncode == 1 and f"error[{code}]" in done.stderr, f"{what}: {done.returncode} {done.stderr}"
        return f"{what}: {code}"


def public_members(jwk):
    return {name: jwk[name] for name in ("kty", "crv", "x", "y")}


def check_form(svid, expected):
    """Rules 68 to 71 and 74, on the bytes alone."""
    token = svid.wit_svid
    header, claims = part(token, 0), part(token, 1)
    assert set(header) == {"alg", "kid", "typ"} and header["typ"] == "wit+jwt", header
    assert set(claims) == {"sub", "exp", "iat", "jti", "cnf"}, claims
    assert claims["sub"] == svid.spiffe_id == expected, claims
    confirmed, private = claims["cnf"]["jwk"], json.loads(svid.wit_svid_key)
    assert "d" in private and "d" not in confirmed, "the private half is the workload's alone"
    assert public_members(confirmed) == public_members(private), "the token is bound to this very key"
    assert confirmed["alg"] == private["alg"] == "ES256", confirmed
    key = pyjwt.PyJWK(private).key
    assert isinstance(key, ec.EllipticCurvePrivateKey), key
    numbers = key.public_key().public_numbers()
    derived = ec.derive_private_key(key.private_numbers().private_value, ec.SECP256R1())
    assert derived.public_key().public_numbers() == numbers, "cryptography finds the same point"
    return key


def check_signature(token, keys):
    """Both libraries take the token by the domain's key, and neither takes it once a claim is another."""
    header = part(token, 0)
    (jwk,) = [key for key in keys if key["kid"] == header["kid"]]
    assert jwk["use"] == "wit-svid", jwk
    pyjwt.decode(token, pyjwt.PyJWK(jwk), algorithms=["ES256"], options={"require": ["exp", "sub"]})
    # joserfc knows the uses `sig` and `enc` and no other.
    bare = jose_jwk.import_key({**public_members(jwk), "kid": jwk["kid"]})
    assert jose_jwt.decode(token, bare, algorithms=["ES256"]).header["typ"] == "wit+jwt"
    head, claims, signature = token.split(".")
    other = {**part(token, 1), "sub": "spiffe://elsewhere.example/a"}
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).rstrip(b"=").decode()
    forged = f"{head}.{forged}.{signature}"
    for judge, error in (
        (lambda: pyjwt.decode(forged, pyjwt.PyJWK(jwk), algorithms=["ES256"]), pyjwt.PyJWTError),
        (lambda: jose_jwt.decode(forged, bare, algorithms=["ES256"]), JoseError),
    ):
        try:
            judge()
        except error:
            continue
        raise AssertionError("another subject was taken")


def check_refusals(signet, token, key):
    """What a thief could do with a token that was seen on its way."""
    thief = ec.generate_private_key(ec.SECP256R1())
    against = ("validate-wit", "--audience", AUDIENCE, token)
    late = int(time.time()) - 60
    return [
        signet.refuses("SGCK209", "a proof by another key", *against, proof(thief, token)),
        signet.refuses("SGCK209", "the token as its own proof", *against, token),
        signet.refuses("SGCK209", "for another service", *against, proof(key, token, aud="https://other.example")),
        signet.refuses("SGCK209", "not a proof by its type", *against, proof(key, token, typ="JWT")),
        signet.refuses("SGCK209", "a proof that is over", *against, proof(key, token, exp=late)),
        signet.refuses("SGCK210", "about another token", *against, proof(key, token, wth=digest("another"))),
        signet.refuses("SGCK211", "good for an hour", *against, proof(key, token, exp=int(time.time()) + 3600)),
        # A bearer of the token alone is nobody: where bearer tokens are taken, it is not one.
        signet.refuses("SGWL009", "as bearer token", "validate-jwt", "--audience", AUDIENCE, token),
    ]


def main():
    socket, expected, binary = sys.argv[1:4]
    api, signet = WorkloadApi(socket), Signet(binary, socket)
    domain = "spiffe://" + expected.removeprefix("spiffe://").split("/")[0]

    api.refused("FetchWITSVID", grpc.StatusCode.INVALID_ARGUMENT, metadata=[])
    api.refused("FetchWITBundles", grpc.StatusCode.INVALID_ARGUMENT, metadata=[("workload.spiffe.io", "True")])
    api.refused("FetchWITSVID", grpc.StatusCode.PERMISSION_DENIED, spiffe_id=f"{domain}/not/mine")
    api.refused("FetchWITSVID", grpc.StatusCode.INVALID_ARGUMENT, spiffe_id="not an id")

    bundles = next(api.stream("FetchWITBundles")).bundles
    keys = json.loads(bundles[domain])["keys"]
    jwt_keys = json.loads(next(api.stream("FetchJWTBundles")).bundles[domain])["keys"]
    names = [key["kid"] for key in keys + jwt_keys]
    assert len(set(names)) == len(names), "no name is that of two keys"

    tokens, refusals = [], []
    for message in api.stream("FetchWITSVID", spiffe_id=expected):
        (svid,) = message.svids
        token = svid.wit_svid
        assert token not in tokens, "each message is news"
        tokens.append(token)
        key = check_form(svid, expected)
        check_signature(token, keys)
        signet.proven(token, proof(key, token), expected)
        # The same by the other library, which reads the key as it was handed out.
        own = jose_jwk.import_key(json.loads(svid.wit_svid_key))
        header = {"alg": "ES256", "typ": "wpt+jwt"}
        signet.proven(token, jose_jwt.encode(header, proof_claims(token), own), expected)
        if not refusals:
            refusals = check_refusals(signet, token, key)
        # Renewed around half of its 20 seconds, with another key.
        if len(tokens) == 2:
            break
    confirmed = [part(token, 1)["cnf"]["jwk"]["x"] for token in tokens]
    assert len(set(confirmed)) == 2, "a new key with each token"

    # What Signet itself proves, by the key in its token.
    made = json.loads(signet.run("wit", "--audience", AUDIENCE).stdout)["svids"][0]
    bound = part(made["wit_svid"], 1)["cnf"]["jwk"]
    claims = pyjwt.decode(made["proof"], pyjwt.PyJWK(bound), algorithms=["ES256"], audience=AUDIENCE)
    assert claims["wth"] == digest(made["wit_svid"]) and part(made["proof"], 0)["typ"] == "wpt+jwt", claims
    jose_jwt.decode(made["proof"], jose_jwk.import_key(public_members(bound)), algorithms=["ES256"])
    print(json.dumps({"id": expected, "tokens": len(tokens), "keys": len(keys), "refusals": refusals}))


main()
