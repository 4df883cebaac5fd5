use crate::storage::{self, Hold, Opened};
use crate::{Config, ServerError};
use serde::Serialize;
use signet_crypto::digest;
use signet_id::TrustDomain;
use signet_keys::{
    FileSeal, JwtAlgorithm, Keys, KeysConfig, KeysError, Purpose, SealFileFault, X509Algorithm,
};
use signet_record::Recorder;
use signet_sys::files::{self, Readers};
use signet_time::SharedClock;
use signet_x509::pem;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a new server is to be.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Its directory: absent or empty.
    pub dir: PathBuf,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// What seals its keys, such as `file=/etc/signet/seal.key`. A key file that is there is used, else one is made.
    pub seal: String,
    /// The kind of its X.509 keys.
    pub x509: X509Algorithm,
    /// What its JWT-SVIDs are signed with.
    pub jwt: JwtAlgorithm,
}

/// What was made.
#[derive(Clone, Debug, Serialize)]
pub struct InitSummary {
    /// The directory.
    pub dir: PathBuf,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// The file of the seal's key. Without it the keys cannot be opened, by nobody.
    pub seal_key: PathBuf,
    /// Whether that file was made now.
    pub seal_key_made: bool,
    /// A settings file that runs the server.
    pub config: PathBuf,
    /// SHA-256 of each root certificate, the active one first, in hexadecimal digits.
    pub root_sha256: Vec<String>,
    /// The root certificates as PEM.
    pub root_pem: String,
}

/// Makes the directory of a new server: change log, record, sealed keys, settings.
///
/// Nothing that was there before is touched. What was made is removed again if anything fails.
///
/// # Errors
/// [`ServerError::NotEmpty`] where the directory holds something, [`ServerError::SealInside`], and what its parts say.
pub async fn init(options: InitOptions, clock: SharedClock) -> Result<InitSummary, ServerError> {
    let seal_key =
        std::path::absolute(storage::seal_path(&options.seal)?).map_err(storage::unusable(&options.dir))?;
    let dir = std::path::absolute(&options.dir).map_err(storage::unusable(&options.dir))?;
    if storage::is_inside(&seal_key, &dir) {
        return Err(ServerError::SealInside { key: seal_key });
    }
    let made_dir = storage::make_dir(&dir)?;
    // Held to the end, so that what is found in it afterwards is ours alone.
    let _hold = storage::claim(&dir, Hold::Alone).map_err(storage::unusable(&dir))?;
    if !storage::is_empty(&dir)? {
        return Err(ServerError::NotEmpty { dir });
    }
    let mut key = None;
    let made = fill(&options, &dir, &seal_key, &mut key, clock).await;
    if made.is_err() {
        // Best effort: the first error is the one to tell, and what cannot be removed is found by the next attempt.
        clean(&dir, made_dir);
        if matches!(key, Some(Key::Made { alone: Some(_) })) {
            let _ = fs::remove_file(&seal_key);
        }
    }
    made
}

/// The file of the seal's key, held until the new server is there or given up.
enum Key {
    /// Made here. It may be removed again only while nobody else holds it: what others sealed with it would be lost.
    Made { alone: Option<fs::File> },
    /// Was there.
    Found { _shared: fs::File },
}

/// Makes the seal's key or opens the one that is there.
fn seal_with(path: &Path) -> Result<(FileSeal, Key), ServerError> {
    match FileSeal::create(path) {
        Ok(seal) => {
            let alone = storage::claim(path, Hold::Alone).ok();
            Ok((seal, Key::Made { alone }))
        }
        Err(KeysError::SealFile {
            what: SealFileFault::Io(error),
            ..
        }) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Whatever is there is looked at before it is opened to be locked.
            storage::open_seal(path)?;
            let held = storage::claim(path, Hold::Shared).map_err(|error| KeysError::SealFile {
                path: path.to_owned(),
                what: SealFileFault::Io(error),
            });
            let _shared = held.map_err(ServerError::part("open the seal"))?;
            // Now that nobody removes it: between the two looks another may have come in its place.
            Ok((storage::open_seal(path)?, Key::Found { _shared }))
        }
        Err(error) => Err(ServerError::part("make the seal's key")(error)),
    }
}

async fn fill(
    options: &InitOptions,
    dir: &Path,
    seal_key: &Path,
    key: &mut Option<Key>,
    clock: SharedClock,
) -> Result<InitSummary, ServerError> {
    storage::check_dir(dir)?;
    let (seal, held) = seal_with(seal_key)?;
    let seal_key_made = matches!(key.insert(held), Key::Made { .. });
    let Opened {
        log, journal, seal, ..
    } = storage::open_files(dir, Arc::new(seal))?;
    let config = KeysConfig {
        x509: options.x509,
        jwt: options.jwt,
        ..KeysConfig::new(options.trust_domain.clone())
    };
    let keys = Keys::open(log, seal, Recorder::new(journal), config)
        .await
        .map_err(ServerError::part("open the keys"))?;
    keys.ensure(clock.now())
        .await
        .map_err(ServerError::part("make the keys"))?;
    let roots: Vec<_> = keys
        .published(Purpose::X509Root)
        .iter()
        .filter_map(|key| key.certificate().cloned())
        .collect();
    let settings = dir.join("server.toml");
    files::write_new(
        &settings,
        settings_text(options, dir, seal_key).as_bytes(),
        Readers::Owner,
    )
    .map_err(storage::unusable(dir))?;
    storage::write_marker(dir, &options.trust_domain, false)?;
    Ok(InitSummary {
        dir: dir.to_owned(),
        trust_domain: options.trust_domain.clone(),
        seal_key: seal_key.to_owned(),
        seal_key_made,
        config: settings,
        root_sha256: roots
            .iter()
            .map(|root| digest::hex(&digest::sha256(root)))
            .collect(),
        root_pem: pem::encode_certs(&roots),
    })
}

pub(crate) fn clean(dir: &Path, made: bool) {
    if made {
        let _ = fs::remove_dir_all(dir);
        return;
    }
    // It was empty when we claimed it, so everything in it is ours.
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = match entry.file_type() {
            Ok(kind) if kind.is_dir() => fs::remove_dir_all(path),
            _ => fs::remove_file(path),
        };
    }
}

pub(crate) fn settings_text(options: &InitOptions, dir: &Path, seal_key: &Path) -> String {
    // Written through the TOML of JSON strings: both quote and escape alike.
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    let seal = serde_json::Value::from(format!("file={}", seal_key.display()));
    format!(
        r#"# A Signet server. Change it to fit, then: signet server run --config FILE
trust_domain = "{trust_domain}"
data_dir = {dir}
seal = {seal}

# Where agents find this server, HOST:PORT; goes into join strings.
advertise = ["127.0.0.1:{agents}"]

[listen]
https = "127.0.0.1:{https}"        # bundle, roots, discovery; "0.0.0.0:{https}" for relying parties on other machines
agents = "127.0.0.1:{agents}"       # "0.0.0.0:{agents}" for agents on other machines
metrics = "127.0.0.1:{metrics}"     # /metrics, /health/live, /health/ready
api = "{api}"   # the administration API
# api_group = "signet"              # its members are administrators, beside root and this server's user
# api_minters_group = "ci"          # its members may mint (signet mint), and nothing else

[svid]
x509_alg = "{x509}"
jwt_alg = "{jwt}"

# How relying parties reach listen.https. Without it documents say https://localhost:{https}, and the certificate there
# is from this server's own root. JWT-SVIDs name the issuer URL/workload.
# [web]
# url = "https://id.example.org"
# certificate = "/etc/signet/web.pem"
# key = "/etc/signet/web.key"
"#,
        trust_domain = options.trust_domain,
        dir = quoted(dir),
        agents = Config::AGENTS_PORT,
        metrics = Config::METRICS_PORT,
        api = Config::API_SOCKET,
        x509 = options.x509.as_str(),
        jwt = options.jwt.as_str(),
        https = Config::HTTPS_PORT,
    )
}
