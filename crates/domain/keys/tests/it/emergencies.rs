use crate::{DAY, HOUR, World, active, config, origin, roots, token_kids};
use signet_keys::{KeyState, KeysConfig, KeysError, Purpose};
use signet_testkit::START;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_tainted_active_key_is_replaced_at_once_by_one_that_everybody_has_seen() {
    for purpose in [Purpose::X509Root, Purpose::JwtSvid, Purpose::WitSvid] {
        let world = World::new();
        let keys = world.started().await;
        let (tokens, root) = (token_kids(&keys), roots(&keys));
        let first = keys.active(purpose).unwrap();
        let now = START + Duration::from_secs(1);
        keys.taint(first.kid(), origin(now)).await.unwrap();
        let second = keys.active(purpose).unwrap();
        match second.certificate() {
            Some(der) => assert!(root.contains(&der.to_vec())),
            None => assert!(tokens.contains(&second.kid().to_owned())),
        }
        let known = keys.read(|ring| ring.key(first.kid()).cloned()).unwrap();
        assert_eq!((known.state(), known.is_tainted()), (KeyState::Draining, true));
        let bundle = keys.bundle().unwrap();
        let tainted = bundle.x509().iter().filter(|a| a.tainted).count()
            + bundle.jwt().iter().filter(|a| a.tainted).count()
            + bundle.wit().iter().filter(|a| a.tainted).count();
        assert_eq!(tainted, 1);
        if purpose == Purpose::X509Root {
            // Nothing is signed below a tainted root.
            let intermediate = keys.active(Purpose::X509Svid).unwrap();
            let issuer = intermediate
                .issuer()
                .unwrap()
                .certificate()
                .authority_key_id()
                .unwrap()
                .to_vec();
            assert_eq!(issuer, second.public_key().key_id());
        }
        // Twice in a row: the key that was prepared a moment ago takes over.
        keys.taint(second.kid(), origin(now)).await.unwrap();
        assert_ne!(active(&keys, purpose), second.kid());
        // Once is enough.
        assert_eq!(keys.taint(second.kid(), origin(now)).await.unwrap(), 0);
        assert_eq!(keys.maintain(now).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_tainted_prepared_key_never_signs() {
    for purpose in [Purpose::X509Root, Purpose::JwtSvid, Purpose::WitSvid] {
        let world = World::new();
        let keys = world.started().await;
        let prepared = keys.read(|ring| {
            let of = |key: &&Arc<signet_keys::IssuingKey>| key.state() == KeyState::Prepared;
            ring.published(purpose).find(of).cloned()
        });
        let prepared = prepared.unwrap().kid().to_owned();
        let first = active(&keys, purpose);
        keys.taint(&prepared, origin(START)).await.unwrap();
        assert_eq!(active(&keys, purpose), first);
        keys.maintain(START + 2_000 * DAY).await.unwrap();
        keys.maintain(START + 2_001 * DAY).await.unwrap();
        assert_ne!(active(&keys, purpose), first);
        assert_ne!(active(&keys, purpose), prepared);
    }
}

#[tokio::test]
async fn a_tainted_intermediate_is_replaced_under_the_same_root() {
    let world = World::new();
    let keys = world.started().await;
    let (root, first) = (active(&keys, Purpose::X509Root), active(&keys, Purpose::X509Svid));
    keys.taint(&first, origin(START)).await.unwrap();
    assert_ne!(active(&keys, Purpose::X509Svid), first);
    assert_eq!(active(&keys, Purpose::X509Root), root);
}

#[tokio::test]
async fn a_revoked_key_leaves_the_bundle_at_once() {
    for purpose in Purpose::ALL {
        let world = World::new();
        let keys = world.started().await;
        let first = keys.active(purpose).unwrap();
        keys.revoke(first.kid(), origin(START + HOUR)).await.unwrap();
        assert_ne!(active(&keys, purpose), first.kid());
        assert!(!token_kids(&keys).contains(&first.kid().to_owned()));
        if purpose == Purpose::X509Root {
            assert!(!roots(&keys).contains(&first.certificate().unwrap().to_vec()));
        }
        let again = keys.revoke(first.kid(), origin(START + HOUR)).await;
        assert!(
            matches!(
                again,
                Err(KeysError::State {
                    state: KeyState::Retired,
                    ..
                })
            ),
            "{again:?}"
        );
        let reopened = world.open().await;
        assert_eq!(reopened.maintain(START + HOUR).await.unwrap(), 0);
    }
    let keys = World::new().open().await;
    let unknown = keys.revoke("00", origin(START)).await;
    assert!(
        matches!(unknown, Err(KeysError::KeyUnknown { .. })),
        "{unknown:?}"
    );
}

/// An intermediate travels with what it signed and not in the bundle: that it is called off must be said there all the
/// same, for as long as it would be valid, or a thief goes on under the sound root.
#[tokio::test]
async fn verifiers_learn_of_an_intermediate_that_was_called_off() {
    for is_revoked in [false, true] {
        let world = World::new();
        // Longer than retired keys are remembered otherwise.
        let config = KeysConfig {
            intermediate_life: 60 * DAY,
            ..config()
        };
        let log = Arc::new(world.log.clone());
        let keys = world.open_with(log, config).await.unwrap();
        keys.ensure(START).await.unwrap();
        let first = keys.active(Purpose::X509Svid).unwrap();
        let der = first.certificate().unwrap();
        let roots = keys.bundle().unwrap().x509_concat_der();
        if is_revoked {
            keys.revoke(first.kid(), origin(START)).await.unwrap();
        } else {
            keys.taint(first.kid(), origin(START)).await.unwrap();
        }
        let end = first.not_after().unwrap();
        for now in [START, START + DAY, end - HOUR] {
            while keys.maintain(now).await.unwrap() > 0 {}
            let bundle = keys.bundle().unwrap();
            let told: Vec<_> = bundle.x509().iter().filter(|a| a.tainted).collect();
            assert_eq!(told.len(), 1, "{now}");
            assert_eq!(told[0].certificate, *der);
            // Whoever knows no taint must not take it for a root.
            assert_eq!(bundle.x509_concat_der(), roots);
        }
        while keys.maintain(end + DAY).await.unwrap() > 0 {}
        assert!(keys.bundle().unwrap().x509().iter().all(|a| !a.tainted));
    }
}
