//! Keys rotate while readers cache: whoever keeps to the headers knows every key before it signs.

use crate::World;
use core::time::Duration;
use signet_keys::{KeysConfig, Purpose};
use signet_surface_publish::CachePolicy;
use signet_testkit::START;
use std::collections::{BTreeSet, VecDeque};

const SECOND: Duration = Duration::from_secs(1);

/// Lives short enough to see many rotations, in the proportions that the settings allow.
fn short(config: &mut KeysConfig) {
    config.intermediate_life = SECOND * 600;
    config.root_life = SECOND * 4_800;
    config.root_gate = SECOND * 600;
    config.jwt_active = SECOND * 240;
    config.jwt_gate = SECOND * 120;
    config.leaf_life_max = SECOND * 60;
    config.token_life_max = SECOND * 60;
    config.refresh_hint = SECOND * 300;
}

#[tokio::test]
async fn token_k1_k4_no_reader_that_keeps_to_the_headers_meets_a_key_that_it_does_not_know() {
    let world = World::with(short).await;
    let policy = CachePolicy::of(world.keys.config());
    assert_eq!((policy.max_age, policy.stale), (SECOND * 40, SECOND * 8));
    // The sets that readers may still use, oldest first: one fetched in every second, for as long as the headers say.
    let (mut cached, mut tokens) = (VecDeque::<(String, String)>::new(), VecDeque::new());
    let (mut signed_by, mut roots) = (BTreeSet::new(), BTreeSet::new());
    let age_max = usize::try_from(policy.age_max().as_secs()).unwrap();
    for second in 0..6_000 {
        let now = START + SECOND * second;
        world.keys.maintain(now).await.unwrap();
        world.publisher.refresh().unwrap();
        let keys = String::from_utf8(world.get("/workload/jwks").await.body).unwrap();
        let bundle = String::from_utf8(world.get("/bundle").await.body).unwrap();
        cached.push_back((keys, bundle));
        if cached.len() > age_max + 1 {
            cached.pop_front();
        }
        let signer = world.keys.active(Purpose::JwtSvid).unwrap();
        let root = world.keys.active(Purpose::X509Root).unwrap();
        let (oldest, bundle) = &cached[0];
        assert!(
            oldest.contains(signer.kid()) && bundle.contains(signer.kid()),
            "second {second}: a copy of {age_max} s lacks the key that signs"
        );
        let certificate = root.certificate().unwrap();
        let in_document = base64(certificate);
        assert!(
            bundle.contains(&in_document),
            "second {second}: a copy lacks the root"
        );
        // A token of the signer is valid for so long, and its key must be found for as long.
        let (newest, _) = cached.back().unwrap();
        tokens.push_back((now + world.keys.config().token_life_max, signer.kid().to_owned()));
        while tokens.front().is_some_and(|(end, _)| *end < now) {
            tokens.pop_front();
        }
        for (_, kid) in tokens.iter().step_by(7) {
            assert!(
                newest.contains(kid),
                "second {second}: the key of a valid token is gone"
            );
        }
        signed_by.insert(signer.kid().to_owned());
        roots.insert(root.kid().to_owned());
    }
    assert!(signed_by.len() >= 20, "{} keys signed", signed_by.len());
    assert!(roots.len() >= 2, "{} roots signed", roots.len());
}

/// As it stands in `x5c`.
fn base64(der: &[u8]) -> String {
    let pem = signet_x509::pem::encode_certs(&[der.to_vec()]);
    pem.lines().filter(|line| !line.starts_with("-----")).collect()
}
