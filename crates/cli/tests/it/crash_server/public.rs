//! The public port, as a relying party reads it.

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use signet_net::client::{Client, Endpoint};
use std::sync::Arc;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The documents that tokens and certificates are verified with.
pub(super) const DOCUMENTS: [&str; 2] = ["/workload/jwks", "/bundle"];

/// A client that trusts `roots_pem`.
pub(super) fn client(port: u16, roots_pem: &str) -> Client {
    let mut roots = RootCertStore::empty();
    for root in signet_x509::pem::parse_certs(roots_pem.as_bytes()).unwrap() {
        roots.add(root).unwrap();
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let endpoint = Endpoint::Https {
        host: "127.0.0.1".to_owned(),
        port,
    };
    Client::new(endpoint).with_tls(Arc::new(config))
}

/// The keys in all of [`DOCUMENTS`].
pub(super) async fn documents(client: &Client) -> [Value; 2] {
    let mut read = DOCUMENTS.map(|_| Value::Null);
    for (document, path) in read.iter_mut().zip(DOCUMENTS) {
        let reply = client.send(Method::GET, path, &[], Bytes::new()).await.unwrap();
        assert_eq!(reply.status, 200, "{path}");
        *document = serde_json::from_slice(&reply.body).unwrap();
    }
    read
}

/// Asserts that each key of the set `earlier` is in `now`, unchanged.
pub(super) fn keys_continue(earlier: &Value, now: &Value) {
    let keys = |set: &Value| set["keys"].as_array().unwrap().clone();
    let (earlier, now) = (keys(earlier), keys(now));
    assert!(!earlier.is_empty());
    for key in earlier {
        assert!(now.contains(&key), "{key} is not among {now:?}");
    }
}
