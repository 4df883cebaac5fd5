use crate::{DAY, World, active, config, jwt_kids, only_states, origin, roots, states, token_kids};
use signet_crypto::SignatureEncoding;
use signet_keys::{Keys, KeysError, Purpose, Urgency};
use signet_record::Recorder;
use signet_store::faulty::{Fault, FaultyJournal, FaultyLog, Op};
use signet_store::{ChangeLog, Seq};
use signet_testkit::START;
use std::sync::Arc;

/// What a server signs before a crash and after it verifies with the same published keys.
#[tokio::test]
async fn keys_are_reopened_after_a_crash() {
    let world = World::new();
    let (tokens, root, kids) = {
        let keys = world.started().await;
        (
            token_kids(&keys),
            roots(&keys),
            Purpose::ALL.map(|purpose| active(&keys, purpose)),
        )
    };
    let keys = world.open().await;
    assert_eq!(keys.ensure(START).await.unwrap(), 0);
    assert_eq!((token_kids(&keys), roots(&keys)), (tokens, root));
    for (purpose, kid) in Purpose::ALL.into_iter().zip(kids) {
        let key = keys.active(purpose).unwrap();
        assert_eq!(key.kid(), kid);
        let algorithm = key.public_key().kind().default_algorithm();
        let encoding = SignatureEncoding::Asn1;
        let signature = key
            .signer()
            .unwrap()
            .sign(algorithm, encoding, b"m")
            .await
            .unwrap();
        key.public_key()
            .verify(algorithm, encoding, b"m", &signature)
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_start_at_once_find_the_keys_of_one() {
    for _ in 0..20 {
        let world = World::new();
        let mut servers = Vec::new();
        for _ in 0..4 {
            servers.push(Arc::new(world.open().await));
        }
        let barrier = Arc::new(tokio::sync::Barrier::new(servers.len()));
        let tasks: Vec<_> = servers
            .iter()
            .cloned()
            .map(|server| {
                let barrier = barrier.clone();
                tokio::spawn(async move {
                    barrier.wait().await;
                    server.ensure(START).await.unwrap()
                })
            })
            .collect();
        let mut made = 0;
        for task in tasks {
            made += task.await.unwrap();
        }
        assert_eq!(made, 7, "one server made all, the others none");
        for server in &servers {
            server.followed().catch_up().await.unwrap();
            for purpose in Purpose::ALL {
                assert_eq!(states(server, purpose), states(&servers[0], purpose));
            }
        }
        assert_eq!(servers[0].read(|ring| ring.keys().len()), 7);
    }
}

#[tokio::test]
async fn the_first_keys_survive_every_fault_of_the_log() {
    for fault in Fault::ALL {
        let world = World::new();
        let log = FaultyLog::new(Arc::new(world.log.clone()));
        let keys = world.open_with(Arc::new(log.clone()), config()).await.unwrap();
        log.plan(Op::Commit, 1, fault);
        let outcome = keys.ensure(START).await;
        if fault == Fault::Refused {
            assert!(matches!(outcome, Err(KeysError::Commit(_))), "{outcome:?}");
            assert_eq!(*world.log.head().borrow(), Seq(0));
            keys.ensure(START).await.unwrap();
        } else {
            outcome.unwrap();
        }
        let reopened = world.open().await;
        assert_eq!(reopened.ensure(START).await.unwrap(), 0);
        for keys in [&keys, &reopened] {
            assert_eq!(keys.read(|ring| ring.keys().len()), 7, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_rotation_that_was_not_answered_happens_once() {
    for fault in [Fault::Lost, Fault::Unanswered] {
        let world = World::new();
        world.started().await;
        let log = FaultyLog::new(Arc::new(world.log.clone()));
        let keys = world.open_with(Arc::new(log.clone()), config()).await.unwrap();
        let before = jwt_kids(&keys);
        log.plan(Op::Commit, 1, fault);
        keys.rotate(Purpose::JwtSvid, Urgency::Gated, origin(START + DAY))
            .await
            .unwrap();
        assert!(before.contains(&active(&keys, Purpose::JwtSvid)));
        let mut found = only_states(&keys, Purpose::JwtSvid);
        found.sort_unstable();
        assert_eq!(found, ["active", "draining", "prepared"], "{fault:?}");
    }
}

#[tokio::test]
async fn without_a_record_there_are_no_keys() {
    for fault in Fault::ALL {
        let world = World::new();
        let journal = FaultyJournal::new(Arc::new(world.journal.clone()));
        let recorder = Recorder::new(Arc::new(journal.clone()));
        let keys = Keys::open(
            Arc::new(world.log.clone()),
            world.seal.clone(),
            recorder,
            config(),
        )
        .await
        .unwrap();
        journal.plan(Op::Append, 2, fault);
        let error = keys.ensure(START).await.unwrap_err();
        assert!(matches!(error, KeysError::Record(_)), "{error}");
        assert_eq!(*world.log.head().borrow(), Seq(0), "nothing was committed");
        keys.ensure(START).await.unwrap();
    }
}
