use crate::operation::{Answer, Body, JSON, Length, Media, Need, Operation};
use crate::{samples, schemas};
use serde_json::json;

pub(crate) const X509: Operation = Operation {
    id: "mintX509Svid",
    summary: "Mint an X.509-SVID",
    description: "For any identity of the trust domain but those of nodes and those below `/signet/`. Nothing but its \
                  key is taken from the request, which the caller signs; who asked and why stands in the record.",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("MintX509Request"),
            example: || json!({"spiffe_id": samples::SPIFFE_ID, "csr": samples::CSR, "ttl": "10m", "reason": samples::REASON}),
        }],
    }),
    answer: Answer {
        status: 201,
        about: "The certificate, recorded before it is told.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("MintedX509Svid"),
            example: samples::minted_x509,
        }],
        headers: &[],
    },
    refusals: REFUSALS,
};

pub(crate) const JWT: Operation = Operation {
    id: "mintJwtSvid",
    summary: "Mint a JWT-SVID",
    description: "For any identity of the trust domain but those of nodes and those below `/signet/`. The token is a \
                  secret; who asked and why stands in the record.",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("MintJwtRequest"),
            example: || {
                json!({"spiffe_id": samples::SPIFFE_ID, "audience": ["https://orders.internal"], "ttl": "5m",
                    "reason": samples::REASON})
            },
        }],
    }),
    answer: Answer {
        status: 201,
        about: "The token, recorded before it is told.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("MintedJwtSvid"),
            example: samples::minted_jwt,
        }],
        headers: &[],
    },
    refusals: REFUSALS,
};

pub(crate) const WIT: Operation = Operation {
    id: "mintWitSvid",
    summary: "Mint a WIT-SVID",
    description: "For any identity of the trust domain but those of nodes and those below `/signet/`. The token is bound \
                  to the key of the request, which is all that is taken from it; who asked and why stands in the \
                  record. Incubating.",
    name: None,
    query: &[],
    conditional: false,
    body: Some(Body {
        need: Need::Required,
        length: Length::One,
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("MintWitRequest"),
            example: || json!({"spiffe_id": samples::SPIFFE_ID, "csr": samples::CSR, "ttl": "10m", "reason": samples::REASON}),
        }],
    }),
    answer: Answer {
        status: 201,
        about: "The token, recorded before it is told.",
        media: &[Media {
            media_type: JSON,
            schema: || schemas::reference("MintedWitSvid"),
            example: samples::minted_wit,
        }],
        headers: &[],
    },
    refusals: REFUSALS,
};

/// Beside what every issuing route can give.
const REFUSALS: &[(u16, &str)] = &[
    (400, "SGAD010"),
    (409, "SGRG005"),
    (415, "SGAD009"),
    (422, "SGAD011"),
];
