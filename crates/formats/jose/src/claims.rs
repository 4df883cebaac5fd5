use crate::{AudienceRule, IssuerRule, JoseError, Leeway, Profile};
use core::time::Duration;
use serde_json::{Map, Value};
use signet_time::UnixTime;

/// The registered claims, typed. A claim of the wrong type is an error and never an absent claim (token-J6).
pub(crate) struct Registered<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) audiences: Option<Vec<&'a str>>,
    pub(crate) exp: Option<UnixTime>,
    pub(crate) nbf: Option<UnixTime>,
    pub(crate) iat: Option<UnixTime>,
}

/// Which way a fraction of a millisecond is cut: always to the refusing side.
#[derive(Clone, Copy)]
enum Cut {
    Down,
    Up,
}

impl<'a> Registered<'a> {
    pub(crate) fn read(claims: &'a Map<String, Value>) -> Result<Self, JoseError> {
        text(claims, "jti")?;
        Ok(Self {
            issuer: text(claims, "iss")?,
            subject: text(claims, "sub")?,
            audiences: audiences(claims)?,
            exp: time(claims, "exp", Cut::Down)?,
            nbf: time(claims, "nbf", Cut::Up)?,
            iat: time(claims, "iat", Cut::Up)?,
        })
    }

    /// Checks what `profile` asks of the claims; the token's `exp` if all is well.
    pub(crate) fn check(&self, profile: &Profile, now: UnixTime) -> Result<UnixTime, JoseError> {
        if let IssuerRule::Exactly(issuer) = &profile.issuer {
            let found = self.issuer.ok_or(JoseError::ClaimMissing { name: "iss" })?;
            if found != issuer {
                return Err(JoseError::Issuer);
            }
        }
        self.check_audience(&profile.audience)?;
        self.check_times(profile, now)
    }

    fn check_audience(&self, rule: &AudienceRule) -> Result<(), JoseError> {
        const MISSING: JoseError = JoseError::ClaimMissing { name: "aud" };
        let found = self.audiences.as_deref();
        let fits = match rule {
            AudienceRule::NotUsed => true,
            AudienceRule::Absent if found.is_some() => {
                return Err(JoseError::ClaimForbidden { name: "aud" });
            }
            AudienceRule::Absent => true,
            AudienceRule::Contains(wanted) => found.ok_or(MISSING)?.contains(&wanted.as_str()),
            AudienceRule::Only(wanted) => found.ok_or(MISSING)? == [wanted.as_str()],
        };
        if fits { Ok(()) } else { Err(JoseError::Audience) }
    }

    fn check_times(&self, profile: &Profile, now: UnixTime) -> Result<UnixTime, JoseError> {
        let exp = self.exp.ok_or(JoseError::ClaimMissing { name: "exp" })?;
        if let Some(max) = profile.lifetime_max {
            let iat = self.iat.ok_or(JoseError::ClaimMissing { name: "iat" })?;
            let life = exp.since(iat);
            if life > max {
                return Err(JoseError::Lifetime {
                    life_s: life.as_secs(),
                    life_s_max: max.as_secs(),
                });
            }
        }
        check_window(exp, self.nbf, self.iat, profile.leeway, now)?;
        Ok(exp)
    }
}

/// Whether `now` lies between a token's times, give or take `leeway` (token-J7).
pub(crate) fn check_window(
    exp: UnixTime,
    nbf: Option<UnixTime>,
    iat: Option<UnixTime>,
    leeway: Leeway,
    now: UnixTime,
) -> Result<(), JoseError> {
    let leeway = leeway.duration();
    if now >= exp + leeway {
        return Err(JoseError::Expired {
            late_s: now.since(exp).as_secs(),
        });
    }
    for (name, time) in [("nbf", nbf), ("iat", iat)] {
        if let Some(time) = time.filter(|time| *time > now + leeway) {
            let early = time.since(now) + Duration::from_millis(999);
            return Err(JoseError::Early {
                name,
                early_s: early.as_secs(),
            });
        }
    }
    Ok(())
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, JoseError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(JoseError::ClaimType {
            name,
            wanted: "a string",
        }),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Option<Vec<&str>>, JoseError> {
    const WRONG: JoseError = JoseError::ClaimType {
        name: "aud",
        wanted: "a string or an array of strings",
    };
    match claims.get("aud") {
        None => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one])),
        Some(Value::Array(several)) => several
            .iter()
            .map(|one| one.as_str().ok_or(WRONG))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(WRONG),
    }
}

/// A NumericDate (RFC 7519 §2): seconds, a fraction allowed, 0 <= x < 2^53.
fn time(claims: &Map<String, Value>, name: &'static str, cut: Cut) -> Result<Option<UnixTime>, JoseError> {
    const END: u64 = 1 << 53;
    let wrong = JoseError::ClaimType {
        name,
        wanted: "a number of seconds from 0 to 2^53",
    };
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    if let Some(secs) = value.as_u64() {
        return if secs < END {
            Ok(Some(UnixTime::from_secs(secs)))
        } else {
            Err(wrong)
        };
    }
    #[expect(clippy::cast_precision_loss, reason = "2^53 is exact")]
    let in_range = |secs: &f64| (0.0..END as f64).contains(secs);
    let Some(secs) = value.as_f64().filter(|_| value.is_number()).filter(in_range) else {
        return Err(wrong);
    };
    let millis = match cut {
        Cut::Down => (secs * 1_000.0).floor(),
        Cut::Up => (secs * 1_000.0).ceil(),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative and below 2^63"
    )]
    Ok(Some(UnixTime::from_millis(millis as u64)))
}
