//! Backups of running servers, and servers made of them.

use crate::directory::{options, run_config};
use crate::world::{Wall, ask, clock, config, create_entry, domain, join, join_string, start};
use http::Method;
use serde_json::{Value, json};
use signet_fault::Coded as _;
use signet_keys::{FileSeal, Keys, KeysConfig, Purpose, Urgency};
use signet_record::Recorder;
use signet_server::backup::Backup;
use signet_server::{
    Config, Handle, RESTORE_FAILPOINTS, RestoreOptions, RestoreSummary, Server, ServerError, Storage, init,
    restore,
};
use signet_store::Origin;
use signet_store::memory::MemoryJournal;
use signet_store_sqlite::SqliteLog;
use signet_time::Clock as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

async fn taken(server: &Handle) -> Vec<u8> {
    let reply = ask(server, Method::POST, "/api/v1/backup", "").await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/vnd.signet.backup");
    reply.body.to_vec()
}

async fn shown(server: &Handle, path: &str) -> Value {
    serde_json::from_slice(&ask(server, Method::GET, path, "").await.body).unwrap()
}

async fn stop(server: Handle) {
    server.shutdown();
    server.finished().await.unwrap();
}

/// A server that was made, had an entry and stopped; and its backup.
async fn backed_up(dir: &Path) -> Vec<u8> {
    init(options(dir), clock()).await.unwrap();
    let server = start(run_config(dir)).await;
    create_entry(&server, "/a").await;
    let bytes = taken(&server).await;
    stop(server).await;
    bytes
}

fn into(dir: &Path, name: &str) -> RestoreOptions {
    RestoreOptions {
        dir: dir.join(name),
        seal: None,
        replace: false,
    }
}

async fn restored(bytes: &[u8], options: RestoreOptions) -> Result<RestoreSummary, ServerError> {
    restore(bytes.to_vec(), options, clock()).await
}

fn run_restored(dir: &Path, name: &str) -> Config {
    Config {
        storage: Storage::Directory {
            dir: dir.join(name),
            seal: format!("file={}", dir.join("seal.key").display()),
        },
        ..config(dir)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spiffe_79_a_restored_server_goes_on_where_the_backup_was_with_larger_numbers() {
    let dir = tempfile::tempdir().unwrap();
    init(options(dir.path()), clock()).await.unwrap();
    let server = start(run_config(dir.path())).await;
    create_entry(&server, "/a").await;
    let node = join(&join_string(&server).await).await;
    let (entries, roots) = (shown(&server, "/api/v1/entries").await, server.root_pem());
    let wish = json!({"spiffe_id": "spiffe://dev.test/a", "audience": ["x"], "reason": "test"});
    let minted = ask(&server, Method::POST, "/api/v1/mint/jwt", &wish.to_string()).await;
    assert_eq!(minted.status, 201, "{minted:?}");
    let verifying = shown(&server, "/api/v1/bundle?format=jwks").await;
    let bytes = taken(&server).await;
    // What comes after is not in it, and neither is that it was.
    create_entry(&server, "/b").await;
    stop(server).await;
    let sequence = {
        let log = Arc::new(SqliteLog::open(&dir.path().join("server/state.db")).unwrap());
        let seal = Arc::new(FileSeal::open(&dir.path().join("seal.key")).unwrap());
        let recorder = Recorder::new(Arc::new(MemoryJournal::new()));
        let keys = Keys::open(log, seal, recorder, KeysConfig::new(domain()))
            .await
            .unwrap();
        for _ in 0..3 {
            let origin = Origin::new("who", "why", Wall.now());
            keys.rotate(Purpose::JwtSvid, Urgency::Emergency, origin)
                .await
                .unwrap();
        }
        keys.bundle().unwrap().sequence()
    };
    let contents = Backup::decode(&bytes).unwrap();
    assert_eq!(contents.trust_domain, "dev.test");
    assert_eq!(
        contents.seal,
        format!("file={}", dir.path().join("seal.key").display())
    );
    assert!(contents.record_next > 1);

    let summary = restored(&bytes, into(dir.path(), "other")).await.unwrap();
    assert_eq!(summary.kept, None);
    let written = Config::load(&summary.config).unwrap();
    assert_eq!(written.storage, run_restored(dir.path(), "other").storage);
    let server = start(run_restored(dir.path(), "other")).await;
    let found = shown(&server, "/api/v1/entries").await;
    let ids = |list: &Value| -> Vec<Value> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|entry| entry["spiffe_id"].clone()).collect()
    };
    assert_eq!(ids(&found), [json!("spiffe://dev.test/a")]);
    assert_eq!(found["items"][0]["id"], entries["items"][0]["id"]);
    assert_eq!(server.root_pem(), roots);
    // Tokens from before the backup verify: the keys that they are checked with are the same.
    assert_eq!(shown(&server, "/api/v1/bundle?format=jwks").await, verifying);
    let bundle = shown(&server, "/api/v1/bundle").await;
    let now = bundle["sequence"].as_u64().unwrap();
    assert!(now > sequence && now < 1 << 53, "{now} after {sequence}");
    // The node is known by its key, without another join string.
    let mut client = node.connect(&server.addresses().agents.to_string());
    let renewal = signet_proto::agent::v1::RenewRequest {
        csr: signet_x509::make_csr(&node.key, None, &[]).unwrap().into(),
        step: None,
    };
    assert!(client.renew(renewal).await.unwrap().into_inner().svid.is_some());
    // It can be backed up and restored again, to larger numbers yet.
    let again = taken(&server).await;
    stop(server).await;
    let again = restored(&again, into(dir.path(), "third")).await.unwrap();
    assert!(again.seq > now);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_replaced_only_when_asked_and_stays_beside() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = backed_up(dir.path()).await;
    let occupied = restored(&bytes, into(dir.path(), "server")).await.unwrap_err();
    assert_eq!(occupied.code(), "SGSV021");
    let replacing = RestoreOptions {
        replace: true,
        ..into(dir.path(), "server")
    };
    let server = start(run_config(dir.path())).await;
    create_entry(&server, "/later").await;
    let running = restored(&bytes, replacing.clone()).await.unwrap_err();
    assert_eq!(running.code(), "SGSV022");
    stop(server).await;

    let settings = dir.path().join("server/server.toml");
    let text = format!("# ours\n{}", fs::read_to_string(&settings).unwrap());
    fs::write(&settings, &text).unwrap();
    let old = fs::read(dir.path().join("server/state.db")).unwrap();
    let summary = restored(&bytes, replacing.clone()).await.unwrap();
    let kept = summary.kept.unwrap();
    assert_eq!(fs::read(kept.join("state.db")).unwrap(), old);
    assert!(kept.join("journal").exists());
    assert_eq!(fs::read_to_string(&settings).unwrap(), text);
    let mode = fs::metadata(dir.path().join("server"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    let server = start(run_config(dir.path())).await;
    assert_eq!(
        shown(&server, "/api/v1/entries").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    stop(server).await;

    // What is no server of this domain is left alone, whatever is asked.
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(other.join("precious"), "x").unwrap();
    let options = RestoreOptions {
        dir: other.clone(),
        ..replacing.clone()
    };
    assert_eq!(
        restored(&bytes, options.clone()).await.unwrap_err().code(),
        "SGSV004"
    );
    let marker = "signet server directory, layout 1\ntrust_domain other.test\nseal elsewhere\n";
    fs::write(other.join("signet"), marker).unwrap();
    assert_eq!(restored(&bytes, options).await.unwrap_err().code(), "SGSV005");
    assert_eq!(fs::read_to_string(other.join("precious")).unwrap(), "x");
}

/// `backup` as a server with the seal in `dir` would write it.
fn proven(dir: &Path, mut backup: Backup) -> Vec<u8> {
    let seal = FileSeal::open(&dir.join("seal.key")).unwrap();
    let bytes = backup.encode();
    let before = bytes.len() - 32 - 4 - backup.proof.sealed.len();
    let of = signet_crypto::digest::sha256(&bytes[..before]);
    backup.proof.sealed = signet_keys::prove(&seal, "backup", &of).unwrap();
    backup.encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_restored_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = backed_up(dir.path()).await;
    let code = async |bytes: &[u8], options: RestoreOptions| {
        let error = restored(bytes, options).await.unwrap_err();
        error.code()
    };
    let fresh = || into(dir.path(), "fresh");
    assert_eq!(code(b"something", fresh()).await, "SGST009");
    for number in [b"1", b"3"] {
        let other = [b"signet backup ", &number[..], b"\n", &bytes[16..]].concat();
        assert_eq!(code(&other, fresh()).await, "SGST010");
    }
    assert_eq!(code(&bytes[..bytes.len() - 1], fresh()).await, "SGST011");
    let mut altered = bytes.clone();
    altered[bytes.len() / 2] ^= 1;
    assert_eq!(code(&altered, fresh()).await, "SGST011");
    FileSeal::create(&dir.path().join("wrong.key")).unwrap();
    let wrong = RestoreOptions {
        seal: Some(format!("file={}", dir.path().join("wrong.key").display())),
        ..fresh()
    };
    assert_eq!(code(&bytes, wrong.clone()).await, "SGSV025");
    // Whatever else it holds under the same proof is found, though its checksum fits.
    let sound = Backup::decode(&bytes).unwrap();
    let mut renamed = sound.clone();
    renamed.trust_domain = "dev.tesu".to_owned();
    let mut future = sound.clone();
    future.taken = future.taken + core::time::Duration::from_secs(86_400);
    let mut less = sound.clone();
    less.record_next -= 1;
    for changed in [&renamed, &future, &less] {
        assert_eq!(code(&changed.encode(), fresh()).await, "SGSV025");
    }
    // Proven by the seal it has to fit it all the same, and the clock: under another domain's name keys do not open.
    assert_eq!(code(&proven(dir.path(), renamed), fresh()).await, "SGKY004");
    assert_eq!(code(&proven(dir.path(), future), fresh()).await, "SGSV023");
    let inside = RestoreOptions {
        seal: Some(format!("file={}", dir.path().join("fresh/seal.key").display())),
        ..fresh()
    };
    assert_eq!(code(&bytes, inside).await, "SGSV006");
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    left.retain(|name| name != "api.sock" && name != "api.sock.lock");
    assert_eq!(left, ["seal.key", "server", "wrong.key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_in_the_place_of_the_newer_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = backed_up(dir.path()).await;
    let (state, older) = (dir.path().join("server/state.db"), dir.path().join("older.db"));
    fs::copy(&state, &older).unwrap();
    let server = start(run_config(dir.path())).await;
    create_entry(&server, "/b").await;
    let wish = json!({"spiffe_id": "spiffe://dev.test/b", "audience": ["x"], "reason": "test"});
    let minted = ask(&server, Method::POST, "/api/v1/mint/jwt", &wish.to_string()).await;
    assert_eq!(minted.status, 201, "{minted:?}");
    stop(server).await;
    // What is newer stays good.
    stop(start(run_config(dir.path())).await).await;
    fs::copy(&older, &state).unwrap();
    let refused = Server::start(run_config(dir.path()), clock())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), "SGSV024");
    assert!(refused.remedy().contains("signet server restore"));
    let replacing = RestoreOptions {
        replace: true,
        ..into(dir.path(), "server")
    };
    restored(&bytes, replacing).await.unwrap();
    stop(start(run_config(dir.path())).await).await;
}

/// Where [`the_restore_that_is_killed`] works.
const CHILD_DIR: &str = "SIGNET_TEST_RESTORE_DIR";

/// Restores in a process of its own, with a failpoint that ends it.
#[tokio::test]
#[ignore = "the other half of crash_of_a_restore_leaves_the_old_server_or_the_new_one, which runs it"]
async fn the_restore_that_is_killed() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    signet_fault::failpoint::arm_from_env().unwrap();
    let dir = Path::new(&dir);
    let bytes = fs::read(dir.join("backup")).unwrap();
    let replacing = RestoreOptions {
        replace: true,
        ..into(dir, "server")
    };
    restored(&bytes, replacing).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_of_a_restore_leaves_the_old_server_or_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = backed_up(dir.path()).await;
    fs::write(dir.path().join("backup"), &bytes).unwrap();
    let state = dir.path().join("server/state.db");
    let import = signet_store_sqlite::IMPORT_FAILPOINTS;
    for point in RESTORE_FAILPOINTS.iter().chain(import) {
        let old = fs::read(&state).unwrap();
        let killed = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["backup::the_restore_that_is_killed", "--exact", "--ignored"])
            .env(CHILD_DIR, dir.path())
            .env("SIGNET_FAILPOINTS", format!("{point}=abort"))
            .output()
            .unwrap();
        // Ended by a signal, neither well nor by a failed test.
        assert_eq!(killed.status.code(), None, "{point}: {killed:?}");
        match *point {
            // Between the two renames there is no server; both lie beside, and the next attempt goes on.
            "server.restore.kept" => {
                assert!(!dir.path().join("server").exists());
                restored(&bytes, into(dir.path(), "server")).await.unwrap();
            }
            "server.restore.placed" => assert_ne!(fs::read(&state).unwrap(), old),
            _ => assert_eq!(fs::read(&state).unwrap(), old, "{point}"),
        }
        let server = start(run_config(dir.path())).await;
        let entries = shown(&server, "/api/v1/entries").await;
        assert_eq!(entries["items"].as_array().unwrap().len(), 1, "{point}");
        stop(server).await;
    }
}
