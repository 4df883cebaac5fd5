use crate::{DAY, HOUR, World, active, config, jwt_kids, only_states, origin, own, roots, states};
use signet_keys::{KeysConfig, KeysError, Purpose, Urgency};
use signet_store::Seq;
use signet_testkit::START;
use signet_x509::Certificate;
use std::time::Duration;

#[tokio::test]
async fn a_new_domain_gets_an_active_key_for_each_purpose_and_a_prepared_one_to_publish() {
    let world = World::new();
    let keys = world.open().await;
    assert!(matches!(
        keys.active(Purpose::JwtSvid),
        Err(KeysError::NoActive { .. })
    ));
    assert_eq!(keys.ensure(START).await.unwrap(), 7);
    for (purpose, expected) in [
        (Purpose::X509Root, vec!["active", "prepared"]),
        (Purpose::X509Svid, vec!["active"]),
        (Purpose::JwtSvid, vec!["active", "prepared"]),
        (Purpose::WitSvid, vec!["active", "prepared"]),
    ] {
        let mut found = only_states(&keys, purpose);
        found.sort_unstable();
        assert_eq!(found, expected, "{purpose}");
    }
    assert_eq!(keys.ensure(START).await.unwrap(), 0);
    assert_eq!(keys.maintain(START + HOUR).await.unwrap(), 0);
    let bundle = keys.bundle().unwrap();
    assert_eq!(
        (bundle.x509().len(), bundle.jwt().len(), bundle.wit().len()),
        (2, 2, 2)
    );
    assert_eq!(bundle.refresh_hint(), Some(Duration::from_secs(300)));
    assert!(
        bundle
            .jwt()
            .iter()
            .all(|key| key.jwk.use_() == Some("jwt-svid") && key.jwk.kid() == Some(&key.kid))
    );
    assert!(
        bundle
            .wit()
            .iter()
            .all(|key| key.jwk.use_() == Some("wit-svid") && key.jwk.kid() == Some(&key.kid))
    );
}

#[tokio::test]
async fn spiffe_6_authorities_carry_the_id_of_the_trust_domain_without_path() {
    let world = World::new();
    let keys = world.started().await;
    for purpose in [Purpose::X509Root, Purpose::X509Svid] {
        for key in keys.published(purpose) {
            let certificate = Certificate::parse(key.certificate().unwrap()).unwrap();
            assert_eq!(certificate.uri_names(), ["spiffe://dev.test"]);
            assert!(certificate.is_ca());
        }
    }
    let path_len = |purpose| {
        let key = keys.active(purpose).unwrap();
        key.issuer()
            .unwrap()
            .certificate()
            .basic_constraints()
            .unwrap()
            .path_len
    };
    assert_eq!(
        [path_len(Purpose::X509Root), path_len(Purpose::X509Svid)],
        [Some(1), Some(0)]
    );
}

#[tokio::test]
async fn spiffe_31_ca_certificates_name_the_domain_and_live_within_their_issuer() {
    let world = World::new();
    let keys = world.started().await;
    let (root, intermediate) = (
        keys.active(Purpose::X509Root).unwrap(),
        keys.active(Purpose::X509Svid).unwrap(),
    );
    assert_eq!(root.not_after(), Some(START + 3_652 * DAY));
    assert_eq!(intermediate.not_after(), Some(START + 7 * DAY));
    let begin = intermediate.issuer().unwrap().certificate().not_before();
    assert_eq!(begin, START - Duration::from_secs(30));
    assert_eq!(intermediate.issuer().unwrap().trust_domain(), Some(&own()));
    // The leaf's issuer travels with it, the root does not.
    assert_eq!(intermediate.issuer().unwrap().chain().len(), 1);
}

#[tokio::test]
async fn an_intermediate_is_renewed_at_half_its_life_and_drains_as_long_as_its_leaves_live() {
    let world = World::new();
    let keys = world.started().await;
    let first = active(&keys, Purpose::X509Svid);
    let half = START + 84 * HOUR - Duration::from_secs(15);
    keys.maintain(half - Duration::from_secs(1)).await.unwrap();
    assert_eq!(active(&keys, Purpose::X509Svid), first);
    keys.maintain(half).await.unwrap();
    let second = active(&keys, Purpose::X509Svid);
    assert_ne!(first, second);
    let over = half + 6 * HOUR + Duration::from_secs(60);
    keys.maintain(over - Duration::from_secs(1)).await.unwrap();
    assert_eq!(only_states(&keys, Purpose::X509Svid), ["draining", "active"]);
    keys.maintain(over).await.unwrap();
    assert_eq!(only_states(&keys, Purpose::X509Svid), ["retired", "active"]);
    keys.maintain(over + 30 * DAY).await.unwrap();
    assert!(
        states(&keys, Purpose::X509Svid)
            .iter()
            .all(|(kid, _)| *kid != first),
        "forgotten"
    );
    // The root never changed.
    assert_eq!(roots(&keys).len(), 2);
}

#[tokio::test]
async fn a_jwt_key_signs_for_a_day_and_is_accepted_until_its_last_token_is_over() {
    let world = World::new();
    let keys = world.started().await;
    let first = active(&keys, Purpose::JwtSvid);
    let before = jwt_kids(&keys);
    keys.maintain(START + DAY - Duration::from_secs(1)).await.unwrap();
    assert_eq!(active(&keys, Purpose::JwtSvid), first);
    keys.maintain(START + DAY).await.unwrap();
    let second = active(&keys, Purpose::JwtSvid);
    assert!(
        second != first && before.contains(&second),
        "the next key was published before"
    );
    assert_eq!(jwt_kids(&keys).len(), 3);
    let drained = START + 2 * DAY + Duration::from_secs(60);
    keys.maintain(drained - Duration::from_secs(1)).await.unwrap();
    assert!(jwt_kids(&keys).contains(&first));
    keys.maintain(drained).await.unwrap();
    assert!(!jwt_kids(&keys).contains(&first));
    // Its private half is gone, in memory and in the log.
    let key = keys.read(|ring| ring.key(&first).cloned()).unwrap();
    assert!(matches!(key.signer(), Err(KeysError::State { .. })));
    let reopened = world.open().await;
    assert_eq!(
        states(&reopened, Purpose::JwtSvid),
        states(&keys, Purpose::JwtSvid)
    );
}

#[tokio::test]
async fn a_key_that_does_not_sign_gives_no_signer() {
    let world = World::new();
    let keys = world.started().await;
    for key in keys.read(|ring| ring.keys().to_vec()) {
        assert_eq!(key.signer().is_ok(), key.state().as_str() == "active");
    }
}

#[tokio::test]
async fn a_root_is_replaced_at_half_its_life_and_its_intermediate_with_it() {
    let world = World::new();
    let keys = world.started().await;
    let first = keys.active(Purpose::X509Root).unwrap();
    let before = roots(&keys);
    let half = START + 1_826 * DAY + Duration::from_secs(60);
    keys.maintain(half).await.unwrap();
    let second = keys.active(Purpose::X509Root).unwrap();
    assert_ne!(first.kid(), second.kid());
    assert!(before.contains(&second.certificate().unwrap().to_vec()));
    let intermediate = keys.active(Purpose::X509Svid).unwrap();
    let issuer = intermediate
        .issuer()
        .unwrap()
        .certificate()
        .authority_key_id()
        .unwrap()
        .to_vec();
    assert_eq!(issuer, second.public_key().key_id());
    // What the old root signed is accepted until the last intermediate of it is over.
    keys.maintain(half + 7 * DAY).await.unwrap();
    assert!(roots(&keys).contains(&first.certificate().unwrap().to_vec()));
    keys.maintain(half + 7 * DAY + Duration::from_secs(60))
        .await
        .unwrap();
    assert!(!roots(&keys).contains(&first.certificate().unwrap().to_vec()));
    // The second is not replaced at once, though half of its certificate's life is over.
    assert_eq!(active(&keys, Purpose::X509Root), second.kid());
}

#[tokio::test]
async fn a_rotation_waits_until_the_next_key_is_known_unless_it_is_an_emergency() {
    for (purpose, gate) in [
        (Purpose::X509Root, DAY),
        (Purpose::JwtSvid, HOUR),
        (Purpose::WitSvid, HOUR),
    ] {
        let world = World::new();
        let keys = world.started().await;
        let early = keys
            .rotate(
                purpose,
                Urgency::Gated,
                origin(START + gate - Duration::from_secs(1)),
            )
            .await;
        let Err(KeysError::TooEarly { from, .. }) = early else {
            panic!("{early:?}")
        };
        assert_eq!(from, START + gate);
        let first = active(&keys, purpose);
        keys.rotate(purpose, Urgency::Gated, origin(START + gate))
            .await
            .unwrap();
        let second = active(&keys, purpose);
        assert_ne!(first, second);
        // The one that was made just now is known to nobody.
        let now = origin(START + gate + Duration::from_secs(1));
        assert!(keys.rotate(purpose, Urgency::Gated, now.clone()).await.is_err());
        keys.rotate(purpose, Urgency::Emergency, now).await.unwrap();
        assert_ne!(active(&keys, purpose), second);
    }
}

#[tokio::test]
async fn spiffe_79_the_sequence_rises_with_every_change_and_survives_a_restart() {
    let world = World::new();
    let keys = world.started().await;
    let mut seen = Seq(keys.bundle().unwrap().sequence());
    let mut now = START;
    for day in 0..80_u64 {
        now = START + u32::try_from(day).unwrap() * DAY / 2;
        let changed = keys.maintain(now).await.unwrap() > 0;
        let sequence = Seq(keys.bundle().unwrap().sequence());
        assert_eq!(sequence > seen, changed, "at {now}");
        assert!(sequence >= seen);
        seen = sequence;
        // A restart forgets deleted records; the sequence does not go back with them.
        assert_eq!(world.open().await.bundle().unwrap().sequence(), seen.0);
    }
    assert!(now > START + 30 * DAY, "retired keys were forgotten on the way");
}

#[tokio::test]
async fn every_ca_certificate_is_recorded() {
    let world = World::new();
    let keys = world.started().await;
    keys.maintain(START + 4 * DAY).await.unwrap();
    let records = world.recorded().await;
    let authorities: Vec<_> = keys.read(|ring| {
        ring.keys()
            .iter()
            .filter_map(|key| key.certificate().cloned())
            .collect()
    });
    assert_eq!(authorities.len(), 4);
    for der in authorities {
        let hash = signet_crypto::digest::sha256(&der);
        let record = records
            .iter()
            .find(|r| r.credential_sha256 == hash[..])
            .expect("recorded");
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(record.not_after_ms, certificate.not_after().as_millis());
        assert_eq!(record.subject, "spiffe://dev.test");
    }
}

#[test]
fn lives_that_do_not_fit_are_refused() {
    let base = config();
    let wrong = [
        KeysConfig {
            intermediate_life: Duration::from_secs(59),
            ..base.clone()
        },
        KeysConfig {
            root_life: 55 * DAY,
            ..base.clone()
        },
        KeysConfig {
            root_gate: 500 * DAY,
            ..base.clone()
        },
        KeysConfig {
            jwt_active: Duration::from_secs(59),
            jwt_gate: Duration::ZERO,
            ..base.clone()
        },
        KeysConfig {
            jwt_gate: 13 * HOUR,
            ..base.clone()
        },
        KeysConfig {
            refresh_hint: Duration::from_millis(999),
            ..base.clone()
        },
    ];
    for config in wrong {
        assert!(
            matches!(config.check(), Err(KeysError::Setting { .. })),
            "{config:?}"
        );
    }
    base.check().unwrap();
}
