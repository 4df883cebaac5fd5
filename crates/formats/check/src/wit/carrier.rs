//! Where an HTTP request carries a WIT-SVID (WIT-SVID §5): in a header of its own, with the proof in another.

use super::WitSvidError;
use signet_jose::{DEPTH_MAX, HEADER_BYTES_MAX, TOKEN_BYTES_MAX, base64url, strict_json};

/// The header of the WIT-SVID.
pub const TOKEN_HEADER: &str = "workload-identity-token";
/// The header of the proof.
pub const PROOF_HEADER: &str = "workload-proof-token";
/// Where no WIT-SVID may stand.
const AUTHORIZATION: &str = "authorization";

/// A WIT-SVID and its proof, as a request carries them. Neither has been looked at yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried<'r> {
    /// For [`super::validate_svid`].
    pub token: &'r str,
    /// For [`super::UnprovenWit::prove`].
    pub proof: &'r str,
}

/// Finds WIT-SVID and proof among `headers`, names and values of a request; names in any case. `None` where the request
/// carries neither, and where what stands in `authorization` is something else.
///
/// # Errors
/// [`WitSvidError::Bearer`] where a WIT-SVID stands in `authorization`: whoever reads it there takes it for a token that
/// needs no proof. [`WitSvidError::HeaderMissing`], [`WitSvidError::HeaderForm`].
pub fn carried<'r>(
    headers: impl IntoIterator<Item = (&'r str, &'r [u8])>,
) -> Result<Option<Carried<'r>>, WitSvidError> {
    let (mut token, mut proof) = (None, None);
    for (name, value) in headers {
        if name.eq_ignore_ascii_case(AUTHORIZATION) {
            if is_wit(value) {
                return Err(WitSvidError::Bearer);
            }
        } else if name.eq_ignore_ascii_case(TOKEN_HEADER) {
            take(&mut token, value, TOKEN_HEADER)?;
        } else if name.eq_ignore_ascii_case(PROOF_HEADER) {
            take(&mut proof, value, PROOF_HEADER)?;
        }
    }
    match (token, proof) {
        (None, None) => Ok(None),
        (Some(token), Some(proof)) => Ok(Some(Carried { token, proof })),
        (None, Some(_)) => Err(WitSvidError::HeaderMissing { header: TOKEN_HEADER }),
        (Some(_), None) => Err(WitSvidError::HeaderMissing { header: PROOF_HEADER }),
    }
}

fn take<'r>(slot: &mut Option<&'r str>, value: &'r [u8], header: &'static str) -> Result<(), WitSvidError> {
    let text = core::str::from_utf8(value)
        .ok()
        .filter(|text| (1..=TOKEN_BYTES_MAX).contains(&text.len()))
        .ok_or(WitSvidError::HeaderForm { header })?;
    match slot.replace(text) {
        None => Ok(()),
        Some(_) => Err(WitSvidError::HeaderForm { header }),
    }
}

/// Whether credentials, after their scheme or without one, are a token whose `typ` is that of a WIT. Lenient, since what
/// it finds is refused.
fn is_wit(credentials: &[u8]) -> bool {
    let words = credentials.split(|byte| byte.is_ascii_whitespace() || *byte == b',');
    let mut heads = words.map(|word| word.split(|byte| *byte == b'.').next().unwrap_or_default());
    heads.any(|head| typ_of(head).is_some_and(|typ| is_wit_typ(&typ)))
}

fn is_wit_typ(typ: &str) -> bool {
    let bare = match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    };
    bare.eq_ignore_ascii_case("wit+jwt")
}

fn typ_of(head: &[u8]) -> Option<String> {
    let limits = strict_json::Limits {
        bytes_max: HEADER_BYTES_MAX,
        depth_max: DEPTH_MAX,
    };
    let json = base64url::decode(core::str::from_utf8(head).ok()?)?;
    let header = strict_json::parse_object(&json, limits).ok()?;
    Some(header.get("typ")?.as_str()?.to_owned())
}
