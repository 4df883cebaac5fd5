use signet_fault::Entry;

const fn entry(code: &'static str, meaning: &'static str, remedy: &'static str) -> Entry {
    Entry {
        code,
        meaning,
        remedy,
    }
}

/// The error codes of this crate.
pub const REGISTER: &[Entry] = &[
    entry(
        "SGJO001",
        "a token or its header is too long",
        "send a token of at most 16 KiB, an assertion of at most 8 KiB",
    ),
    entry(
        "SGJO002",
        "a token is not three parts of strict base64url",
        "send the token as it was issued, without quotes, padding or line breaks",
    ),
    entry(
        "SGJO003",
        "a token is in json serialisation",
        "send the compact form: header.payload.signature",
    ),
    entry(
        "SGJO004",
        "a token is encrypted or nested",
        "send a signed token that holds its claims itself",
    ),
    entry(
        "SGJO005",
        "header, payload or key is not strict json",
        "have the issuer write each member once, at most 16 levels deep",
    ),
    entry(
        "SGJO006",
        "a header member is not accepted",
        "have the issuer leave out crit, b64, zip and keys in the header",
    ),
    entry(
        "SGJO007",
        "a header member has the wrong type",
        "have the issuer write alg, kid and typ as strings",
    ),
    entry(
        "SGJO008",
        "the algorithm is not accepted",
        "sign with ES256, or another algorithm that the receiver lists",
    ),
    entry(
        "SGJO009",
        "header and key name different algorithms",
        "sign with the algorithm that the key was published for",
    ),
    entry(
        "SGJO010",
        "the token is of another kind",
        "send the kind of token that this place asks for",
    ),
    entry(
        "SGJO011",
        "the header names no key",
        "have the issuer put the key's id into the header",
    ),
    entry(
        "SGJO012",
        "no usable key for the token",
        "check that the token's issuer is trusted and that its current keys are known here",
    ),
    entry(
        "SGJO013",
        "the signature does not match",
        "get a new token from its issuer",
    ),
    entry("SGJO014", "a claim is missing", "have the issuer add the claim"),
    entry(
        "SGJO015",
        "a claim has the wrong type",
        "have the issuer write times as numbers of seconds and names as strings",
    ),
    entry(
        "SGJO016",
        "a claim must not be there",
        "have the issuer leave the claim out of this kind of token",
    ),
    entry(
        "SGJO017",
        "the token is by another issuer",
        "write the issuer exactly as the token has it, trailing slash included",
    ),
    entry(
        "SGJO018",
        "the token is for another audience",
        "ask the issuer for a token with this audience",
    ),
    entry(
        "SGJO019",
        "the token has expired",
        "get a new token, and compare the two machines' clocks",
    ),
    entry(
        "SGJO020",
        "the token is not valid yet",
        "compare the clocks of the issuer and of this machine",
    ),
    entry(
        "SGJO021",
        "the token lives too long",
        "ask for a token with a shorter life",
    ),
    entry("SGJO022", "too much leeway", "set a leeway of at most 60 seconds"),
    entry(
        "SGJO023",
        "a key is not a jwk that is accepted",
        "publish the key as RFC 7517 and RFC 7518 describe, with kid and use",
    ),
    entry(
        "SGJO024",
        "a key has private parts",
        "publish the public half only, and replace the key: its private half was shown",
    ),
    entry(
        "SGJO025",
        "a key is weak or malformed",
        "publish a P-256 key, or RSA of at least 2048 bits",
    ),
    entry(
        "SGJO026",
        "claims to sign are not an object",
        "this is a fault in Signet; please report it",
    ),
    entry(
        "SGJO027",
        "a token was not signed",
        "look at the key store that holds the signing key",
    ),
];
