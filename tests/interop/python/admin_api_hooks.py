"""What one server knows and the document, which is the same for all servers, cannot say in a schema."""

import json
import os

import schemathesis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

OWN = os.environ["SIGNET_TRUST_DOMAIN"]
ANY_DOMAIN = "[a-z0-9._-]{1,255}"
LINES = ("application/x-ndjson", "application/jsonl")
# A moment that is not over, and that every calendar has.
FUTURE = "^2[1-9][0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}Z$"


@schemathesis.hook
def before_load_schema(context, raw_schema):
    # Its examples speak of the trust domain of `signet dev`.
    raw_schema.update(json.loads(json.dumps(raw_schema).replace("spiffe://dev.test/", f"spiffe://{OWN}/")))
    schemas = raw_schema["components"]["schemas"]
    # A schema can say of JSON lines only that they are text; here each of them is one, written by `lines`.
    for path in ("/api/v1/entries/batch", "/api/v1/entries/plan"):
        content = raw_schema["paths"][path]["post"]["requestBody"]["content"]
        for name in LINES:
            content[name] = content["application/json"]
    own(schemas["WorkloadId"])
    for form in schemas["WorkloadPattern"]["anyOf"]:
        own(form)
    # Where the body says an id, it is the one in the path: a schema cannot compare the two.
    schemas["EntryUpdate"]["properties"]["id"] = {"type": "null"}
    # Nobody can invent a request that its key signed.
    for name in ("MintX509Request", "MintWitRequest"):
        schemas[name]["properties"]["csr"] = {"const": request()}
    for name in ("EntryDraft", "EntryUpdate", "EntryChange"):
        members = schemas[name]["properties"]
        own(members["parent_id"]["anyOf"][0])
        members["federates_with"]["items"] = {
            "allOf": [members["federates_with"]["items"], {"not": {"const": OWN}}]
        }
        expires_at = members["expires_at"]["anyOf"][0]
        assert "pattern" in expires_at
        members["expires_at"]["anyOf"][0] = {"type": "string", "pattern": FUTURE}


def request():
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@schemathesis.hook
def map_body(context, body):
    return whole(body)


def whole(value):
    """JSON Schema takes 7.0 for an integer; a reader of whole numbers need not (RFC 8259, section 6)."""
    if isinstance(value, list):
        return [whole(one) for one in value]
    if isinstance(value, dict):
        return {name: whole(one) for name, one in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@schemathesis.serializer(*LINES)
def lines(context, value):
    if isinstance(value, list):
        return "".join(json.dumps(one) + "\n" for one in value).encode()
    return json.dumps(value).encode()


def own(schema):
    """Identities that are given away lie in the server's own trust domain."""
    assert ANY_DOMAIN in schema["pattern"], schema
    schema["pattern"] = schema["pattern"].replace(ANY_DOMAIN, OWN.replace(".", r"\."))
