//! Keys for WIT-SVIDs beside those for JWT-SVIDs.

use crate::seals::{field, log_with};
use crate::{DAY, HOUR, World, active, config, jwt_kids, only_states, origin, token_kids, wit_kids};
use signet_keys::{JwtAlgorithm, KEY_STATE, KeysConfig, KeysError, Purpose, SEALED_KEY, Urgency};
use signet_store::Change;
use signet_testkit::START;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn spiffe_78_wit_keys_say_their_use_and_no_other_key_of_the_bundle_has_their_name() {
    let world = World::new();
    let keys = world.started().await;
    keys.rotate(Purpose::WitSvid, Urgency::Gated, origin(START + HOUR))
        .await
        .unwrap();
    let bundle = keys.bundle().unwrap();
    assert_eq!(bundle.wit().len(), 3);
    for key in bundle.wit() {
        assert_eq!(
            (key.jwk.use_(), key.jwk.kid()),
            (Some("wit-svid"), Some(&key.kid[..]))
        );
    }
    let kids = token_kids(&keys);
    assert_eq!(kids.iter().collect::<BTreeSet<_>>().len(), kids.len());
}

#[tokio::test]
async fn a_wit_key_is_published_its_gate_long_signs_for_a_day_and_drains() {
    let world = World::new();
    let keys = world.started().await;
    let (first, before) = (active(&keys, Purpose::WitSvid), wit_kids(&keys));
    keys.maintain(START + DAY - Duration::from_secs(1)).await.unwrap();
    assert_eq!(active(&keys, Purpose::WitSvid), first);
    keys.maintain(START + DAY).await.unwrap();
    let second = active(&keys, Purpose::WitSvid);
    assert!(second != first && before.contains(&second));
    let drained = START + 2 * DAY + Duration::from_secs(60);
    keys.maintain(drained - Duration::from_secs(1)).await.unwrap();
    assert!(wit_kids(&keys).contains(&first));
    keys.maintain(drained).await.unwrap();
    assert!(!wit_kids(&keys).contains(&first));
}

/// A JWT key that is called off says nothing about those for WIT-SVIDs.
#[tokio::test]
async fn the_two_kinds_of_token_keys_live_apart() {
    let world = World::new();
    let keys = world.started().await;
    let (jwt, wit) = (active(&keys, Purpose::JwtSvid), wit_kids(&keys));
    keys.revoke(&jwt, origin(START + HOUR)).await.unwrap();
    assert_eq!(wit_kids(&keys), wit);
    assert!(!jwt_kids(&keys).contains(&jwt));
}

#[tokio::test]
async fn wit_keys_sign_as_the_setting_for_tokens_says() {
    let world = World::new();
    let config = KeysConfig {
        jwt: JwtAlgorithm::Es384,
        ..config()
    };
    let keys = world
        .open_with(Arc::new(world.log.clone()), config)
        .await
        .unwrap();
    keys.ensure(START).await.unwrap();
    let key = keys.active(Purpose::WitSvid).unwrap();
    assert_eq!(key.jws_algorithm().as_str(), "ES384");
    assert!(
        keys.bundle()
            .unwrap()
            .wit()
            .iter()
            .all(|key| key.jwk.alg().is_some())
    );
}

/// A log as it was before there were keys for WIT-SVIDs: all others stay, and these come with the next start.
#[tokio::test]
async fn a_domain_from_before_gets_its_wit_keys_at_the_next_start() {
    let world = World::new();
    let keys = world.started().await;
    let (wit, jwt) = (wit_kids(&keys), jwt_kids(&keys));
    assert_eq!(wit.len(), 2);
    let gone = |kind| {
        wit.iter()
            .map(move |kid| Change::delete(kind, 1, kid.clone().into_bytes()))
    };
    let log = log_with(&world, gone(SEALED_KEY).chain(gone(KEY_STATE)).collect()).await;
    let keys = world.open_with(log, config()).await.unwrap();
    assert!(wit_kids(&keys).is_empty());
    let now = START + 5 * HOUR;
    assert_eq!(keys.ensure(now).await.unwrap(), 2);
    let mut found = only_states(&keys, Purpose::WitSvid);
    found.sort_unstable();
    assert_eq!(found, ["active", "prepared"]);
    assert_eq!(jwt_kids(&keys), jwt);
    // The next one waits for its gate like every other.
    let early = keys
        .rotate(Purpose::WitSvid, Urgency::Gated, origin(now + HOUR / 2))
        .await;
    assert!(matches!(early, Err(KeysError::TooEarly { .. })), "{early:?}");
}

/// Whoever can write to the log but not open the seal must not make a key for JWT-SVIDs one for WIT-SVIDs.
#[tokio::test]
async fn a_sealed_key_for_one_kind_of_token_is_none_for_the_other() {
    let world = World::new();
    let keys = world.started().await;
    for (purpose, other) in [(Purpose::JwtSvid, 4), (Purpose::WitSvid, 3)] {
        let kid = active(&keys, purpose);
        let rows = keys.followed().log().load().await.unwrap().rows;
        let row = rows
            .iter()
            .find(|row| row.kind == SEALED_KEY && row.key == kid)
            .unwrap();
        for (what, body) in [
            // The last of two values of one field counts.
            ("purpose", [&row.body[..], &[1 << 3, other]].concat()),
            ("certificate", [&row.body[..], &field(5, b"x")].concat()),
        ] {
            let log = log_with(&world, vec![Change::put(SEALED_KEY, 1, kid.clone(), body)]).await;
            let opened = world.open_with(log, config()).await;
            assert!(
                matches!(opened.map(drop), Err(KeysError::Follow(_))),
                "{purpose}: {what}"
            );
        }
    }
}
