use crate::world::{ask, clock, config, create_entry, domain, start};
use http::Method;
use signet_fault::Coded as _;
use signet_id::TrustDomain;
use signet_keys::X509Algorithm;
use signet_server::{Config, InitOptions, InitSummary, Server, ServerError, Storage, init};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

fn options(dir: &Path) -> InitOptions {
    InitOptions {
        dir: dir.join("server"),
        trust_domain: domain(),
        seal: format!("file={}", dir.join("seal.key").display()),
        x509: X509Algorithm::P256,
    }
}

async fn made(dir: &Path) -> InitSummary {
    init(options(dir), clock()).await.unwrap()
}

/// What the server that `init` made runs with, at free ports and with its socket in `dir`.
fn run_config(dir: &Path) -> Config {
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
