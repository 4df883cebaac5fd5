use crate::world::{ask, clock, config, create_entry, domain, join_string, start};
use http::Method;
use signet_api::JoinString;
use signet_crypto::{KeyKind, digest};
use signet_fault::Coded as _;
use signet_id::TrustDomain;
use signet_journal_file::FileJournal;
use signet_keys::{FileSeal, IssuingKey, JwtAlgorithm, Keys, KeysConfig, Purpose, Urgency, X509Algorithm};
use signet_record::Recorder;
use signet_registry::JoinTokenWish;
use signet_server::{Config, InitOptions, InitSummary, Machines, Server, ServerError, Storage, init};
use signet_store::Origin;
use signet_store_sqlite::SqliteLog;
use signet_surface_agents::NodeTemplate;
use signet_testkit::forge::{Authority, Recipe};
use signet_x509::pem;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

pub(crate) fn options(dir: &Path) -> InitOptions {
    InitOptions {
        dir: dir.join("server"),
        trust_domain: domain(),
        seal: format!("file={}", dir.join("seal.key").display()),
        x509: X509Algorithm::P256,
        jwt: JwtAlgorithm::Es256,
    }
}

async fn made(dir: &Path) -> InitSummary {
    init(options(dir), clock()).await.unwrap()
}

/// What the server that `init` made runs with, at free ports and with its socket in `dir`.
pub(crate) fn run_config(dir: &Path) -> Config {
    Config {
        storage: Storage::Directory {
            dir: dir.join("server"),
            seal: format!("file={}", dir.join("seal.key").display()),
        },
        ..config(dir)
    }
}

async fn refusal(config: Config) -> ServerError {
    Server::start(config, clock()).await.err().expect("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_init_made_runs_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    let summary = made(dir.path()).await;
    assert!(summary.seal_key_made);
    assert_eq!(summary.root_sha256.len(), 2);
    assert_eq!(
        fs::metadata(&summary.dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let written = Config::load(&summary.config).unwrap();
    assert_eq!(written.trust_domain, domain());
    assert_eq!(written.storage, run_config(dir.path()).storage);

    let server = start(run_config(dir.path())).await;
    assert_eq!(server.root_pem(), summary.root_pem);
    let entry = create_entry(&server, "/w").await;
    server.shutdown();
    server.finished().await.unwrap();

    let server = start(run_config(dir.path())).await;
    assert_eq!(server.root_pem(), summary.root_pem);
    let path = format!("/api/v1/entries/{}", entry.id.as_deref().unwrap());
    let reply = ask(&server, Method::GET, &path, "").await;
    assert_eq!(
        serde_json::from_slice::<signet_api::EntryDoc>(&reply.body).unwrap(),
        entry
    );
    server.shutdown();
    server.finished().await.unwrap();
}

#[tokio::test]
async fn init_touches_nothing_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = dir.path().join("server");
    fs::create_dir(&server).unwrap();
    fs::set_permissions(&server, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(server.join("precious"), "x").unwrap();
    let error = init(options(dir.path()), clock()).await.unwrap_err();
    assert_eq!(error.code(), "SGSV001");
    assert_eq!(fs::read_to_string(server.join("precious")).unwrap(), "x");
    assert!(!dir.path().join("seal.key").exists());
    // Twice is once too often.
    fs::remove_file(server.join("precious")).unwrap();
    made(dir.path()).await;
    assert_eq!(
        init(options(dir.path()), clock()).await.unwrap_err().code(),
        "SGSV001"
    );
}

#[tokio::test]
async fn a_failed_init_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("seal.key"), "too short").unwrap();
    fs::set_permissions(dir.path().join("seal.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let error = init(options(dir.path()), clock()).await.unwrap_err();
    assert_eq!(error.code(), "SGKY003", "{error}");
    assert!(!dir.path().join("server").exists());
    assert_eq!(
        fs::read_to_string(dir.path().join("seal.key")).unwrap(),
        "too short"
    );
    let nowhere = InitOptions {
        dir: dir.path().join("no/such/parent"),
        ..options(dir.path())
    };
    assert_eq!(init(nowhere, clock()).await.unwrap_err().code(), "SGSV002");
}

#[tokio::test]
async fn the_seals_key_does_not_lie_beside_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let inside = InitOptions {
        seal: format!("file={}", dir.path().join("server/seal.key").display()),
        ..options(dir.path())
    };
    assert_eq!(init(inside, clock()).await.unwrap_err().code(), "SGSV006");
    // Nor by another name of the same place.
    std::os::unix::fs::symlink(dir.path(), dir.path().join("alias")).unwrap();
    for key in ["x/../server/seal.key", "alias/server/seal.key"] {
        let inside = InitOptions {
            seal: format!("file={}", dir.path().join(key).display()),
            ..options(dir.path())
        };
        assert_eq!(
            init(inside, clock()).await.unwrap_err().code(),
            "SGSV006",
            "{key}"
        );
    }
    for absent in ["systemd", "tpm", "passphrase"] {
        let other = InitOptions {
            seal: absent.into(),
            ..options(dir.path())
        };
        let error = init(other, clock()).await.unwrap_err();
        assert_eq!(error.code(), "SGKY001");
        assert!(signet_fault::chain(&error).contains(absent));
    }
    assert!(!dir.path().join("server").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_run_with_its_key_beside_the_data() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let inside = dir.path().join("server/seal.key");
    fs::rename(dir.path().join("seal.key"), &inside).unwrap();
    std::os::unix::fs::symlink(dir.path().join("server"), dir.path().join("keys")).unwrap();
    let config = Config {
        storage: Storage::Directory {
            dir: dir.path().join("server"),
            seal: format!("file={}", dir.path().join("keys/seal.key").display()),
        },
        ..config(dir.path())
    };
    assert_eq!(refusal(config).await.code(), "SGSV006");
}

#[tokio::test]
async fn a_failed_init_leaves_alone_what_is_not_its_own() {
    // A link to nowhere is there, though nothing is behind it.
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("seal.key");
    std::os::unix::fs::symlink(dir.path().join("nowhere"), &key).unwrap();
    let error = init(options(dir.path()), clock()).await.unwrap_err();
    assert_eq!(error.code(), "SGKY003", "{error}");
    assert!(key.symlink_metadata().is_ok() && !dir.path().join("nowhere").exists());
    assert!(!dir.path().join("server").exists());
    fs::remove_file(&key).unwrap();

    // Another init is at work in the directory, which is still empty.
    let server = dir.path().join("server");
    fs::create_dir(&server).unwrap();
    fs::set_permissions(&server, fs::Permissions::from_mode(0o700)).unwrap();
    let other = fs::File::open(&server).unwrap();
    other.lock().unwrap();
    let error = init(options(dir.path()), clock()).await.unwrap_err();
    assert_eq!(error.code(), "SGSV002", "{error}");
    assert!(server.exists() && !key.exists());
    drop(other);

    // Another init has just made the seal's key and may yet take it back.
    fs::write(&key, [7; 32]).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let other = fs::File::open(&key).unwrap();
    other.lock().unwrap();
    let error = init(options(dir.path()), clock()).await.unwrap_err();
    assert_eq!(error.code(), "SGKY003", "{error}");
    assert_eq!(fs::read(&key).unwrap(), [7; 32]);
    drop(other);
    assert!(!made(dir.path()).await.seal_key_made);
}

/// The loser takes nothing from the winner: what one of them made opens afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_inits_at_once_the_losers_harm_nobody() {
    for same_directory in [true, false] {
        for _ in 0..8 {
            let dir = tempfile::tempdir().unwrap();
            let started = Arc::new(tokio::sync::Barrier::new(4));
            let tasks: Vec<_> = (0..4)
                .map(|n| {
                    let mut options = options(dir.path());
                    if !same_directory {
                        options.dir = dir.path().join(format!("server-{n}"));
                    }
                    let started = started.clone();
                    tokio::spawn(async move {
                        started.wait().await;
                        init(options, clock()).await
                    })
                })
                .collect();
            let mut won = Vec::new();
            for task in tasks {
                won.extend(task.await.unwrap().ok());
            }
            assert!(if same_directory {
                won.len() == 1
            } else {
                !won.is_empty()
            });
            assert_eq!(won.iter().filter(|summary| summary.seal_key_made).count(), 1);
            for summary in won {
                let config = Config {
                    storage: Storage::Directory {
                        dir: summary.dir.clone(),
                        seal: format!("file={}", summary.seal_key.display()),
                    },
                    ..config(dir.path())
                };
                let server = start(config).await;
                assert_eq!(server.root_pem(), summary.root_pem);
                server.shutdown();
                server.finished().await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_string_of_the_handle_names_no_root_that_goes() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path()).await;
    let (tainted, draining) = called_off(dir.path()).await;
    let server = start(run_config(dir.path())).await;
    let text = server.join_string(&JoinTokenWish::default()).await.unwrap();
    let by_handle = JoinString::parse(&text).unwrap().root_hashes;
    assert!(!by_handle.is_empty());
    assert!(by_handle.iter().all(|hash| ![tainted, draining].contains(hash)));
    assert_eq!(
        by_handle,
        join_string(&server).await.root_hashes,
        "as the API says"
    );
    server.shutdown();
    server.finished().await.unwrap();
}

/// Rotates the root of the server in `dir` and taints the one after it: the hashes of the one that drains and of the
/// one that is tainted.
async fn called_off(dir: &Path) -> ([u8; 32], [u8; 32]) {
    let log = SqliteLog::open(&dir.join("server/state.db")).unwrap();
    let journal = FileJournal::open(&dir.join("server/journal")).unwrap();
    let seal = FileSeal::open(&dir.join("seal.key")).unwrap();
    let keys = Keys::open(
        Arc::new(log),
        Arc::new(seal),
        Recorder::new(Arc::new(journal)),
        KeysConfig::new(domain()),
    )
    .await
    .unwrap();
    let origin = || Origin::new("test", "test", clock().now());
    let active = || keys.active(Purpose::X509Root).unwrap();
    let hash = |key: &IssuingKey| digest::sha256(key.certificate().unwrap());
    let first = active();
    keys.rotate(Purpose::X509Root, Urgency::Emergency, origin())
        .await
        .unwrap();
    let second = active();
    keys.taint(second.kid(), origin()).await.unwrap();
    let published = keys.published(Purpose::X509Root);
    let still = |key: &IssuingKey| published.iter().any(|other| other.kid() == key.kid());
    assert!(
        still(&first) && still(&second),
        "both are still accepted by somebody"
    );
    (hash(&second), hash(&first))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_fit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        refusal(run_config(dir.path())).await.code(),
        "SGSV004",
        "not there"
    );
    made(dir.path()).await;
    let other = Config {
        trust_domain: TrustDomain::parse("other.test").unwrap(),
        ..run_config(dir.path())
    };
    assert_eq!(refusal(other).await.code(), "SGSV005");

    let server = dir.path().join("server");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(refusal(run_config(dir.path())).await.code(), "SGSV003");
    fs::set_permissions(&server, fs::Permissions::from_mode(0o700)).unwrap();
    if std::os::unix::fs::chown(&server, Some(12_345), None).is_ok() {
        assert_eq!(
            refusal(run_config(dir.path())).await.code(),
            "SGSV003",
            "another user's"
        );
        std::os::unix::fs::chown(&server, Some(signet_sys::process::uid()), None).unwrap();
    }

    let key = dir.path().join("seal.key");
    let right = fs::read(&key).unwrap();
    fs::write(&key, [7; 32]).unwrap();
    assert_eq!(refusal(run_config(dir.path())).await.code(), "SGKY004");
    fs::write(&key, right).unwrap();

    let running = start(run_config(dir.path())).await;
    let second = Config {
        api_socket: dir.path().join("second.sock"),
        ..run_config(dir.path())
    };
    let error = refusal(second).await;
    assert!(
        error.code().starts_with("SGSQ"),
        "one process per directory: {}",
        error.code()
    );
    running.shutdown();
    running.finished().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_directory_is_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let dev = Config {
        storage: Storage::Insecure {
            dir: dir.path().join("dev"),
        },
        ..config(dir.path())
    };
    let first = start(dev.clone()).await;
    let (pem, entry) = (first.root_pem(), create_entry(&first, "/w").await);
    first.shutdown();
    first.finished().await.unwrap();
    let again = start(dev.clone()).await;
    assert_eq!(again.root_pem(), pem);
    assert!(
        again
            .registry()
            .read(|state| state.entries().any(|e| e.spiffe_id == entry.spiffe_id))
    );
    again.shutdown();
    again.finished().await.unwrap();

    let as_server = Config {
        storage: Storage::Directory {
            dir: dir.path().join("dev"),
            seal: format!("file={}", dir.path().join("dev/insecure-seal.key").display()),
        },
        ..config(dir.path())
    };
    assert_eq!(refusal(as_server).await.code(), "SGSV011");
    made(dir.path()).await;
    let as_dev = Config {
        storage: Storage::Insecure {
            dir: dir.path().join("server"),
        },
        ..config(dir.path())
    };
    let error = refusal(as_dev).await;
    assert_eq!(error.code(), "SGSV012", "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_does_not_start_without_the_authorities_that_it_is_to_take_machines_of() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("machines.pem");
    let with_machines = || Config {
        x509pop: Some(Machines {
            ca: vec![ca.clone()],
            path: NodeTemplate::default(),
        }),
        ..config(dir.path())
    };
    assert_eq!(refusal(with_machines()).await.code(), "SGSV020", "no file");
    fs::write(&ca, "nothing").unwrap();
    assert_eq!(refusal(with_machines()).await.code(), "SGXC015", "no certificate");
    let authority = Authority::root_from(Recipe::ca("machines").uris(&[]), KeyKind::P256);
    let leaf = authority.leaf_from(Recipe::web("a.example")).certificate;
    fs::write(&ca, pem::encode_certs(&[leaf])).unwrap();
    assert_eq!(refusal(with_machines()).await.code(), "SGCK301", "no authority");
    fs::write(
        &ca,
        pem::encode_certs(core::slice::from_ref(&authority.certificate)),
    )
    .unwrap();
    let server = Server::start(with_machines(), clock()).await.unwrap();
    server.shutdown();
    server.finished().await.unwrap();
}
