"""What one server knows and the document, which is the same for all servers, cannot say in a schema."""

import json
import os

import schemathesis

OWN = os.environ["SIGNET_TRUST_DOMAIN"]
ANY_DOMAIN = "[a-z0-9._-]{1,255}"
LINES = ("application/x-ndjson", "application/jsonl")
# A moment that is not over, and that every calendar has.
FUTURE = "^2[1-9][0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])T(?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}Z$"


@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    # A schema can say of JSON lines only that they are text; here each of them is one, written by `lines`.
    content = raw_schema["paths"]["/api/v1/entries/batch"]["post"]["requestBody"]["content"]
    for name in LINES:
        content[name] = content["application/json"]
    own(schemas["WorkloadId"])
    # Where the body says an id, it is the one in the path: a schema cannot compare the two.
    schemas["EntryUpdate"]["properties"]["id"] = {"type": "null"}
    for name in ("EntryDraft", "EntryUpdate"):
        members = schemas[name]["properties"]
        own(members["parent_id"]["anyOf"][0])
        members["federates_with"]["items"] = {
            "allOf": [members["federates_with"]["items"], {"not": {"const": OWN}}]
        }
        expires_at = members["expires_at"]["anyOf"][0]
        assert "pattern" in expires_at
        members["expires_at"]["anyOf"][0] = {"type": "string", "pattern": FUTURE}


@schemathesis.serializer(*LINES)
def lines(context, value):
    if isinstance(value, list):
        return "".join(json.dumps(one) + "\n" for one in value).encode()
    return json.dumps(value).encode()


def own(schema):
    """Identities that are given away lie in the server's own trust domain."""
    assert ANY_DOMAIN in schema["pattern"], schema
    schema["pattern"] = schema["pattern"].replace(ANY_DOMAIN, OWN.replace(".", r"\."))
