//! What connections to the agents' port get by what they proved.

use crate::world::{config, domain, join, join_string, start, stranger};
use signet_crypto::{KeyKind, LocalKey};
use signet_net::client::channel;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How many streams at once the server allows: `SETTINGS_MAX_CONCURRENT_STREAMS` (RFC 9113 §6.5.2) of its first frame.
async fn streams(address: &str, tls: Arc<rustls::ClientConfig>) -> Option<u32> {
    let mut stream = channel::tls_stream(address, tls).await.unwrap();
    // The preface, and settings that say nothing.
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(begin).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "settings come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut settings).await.unwrap();
    settings.chunks_exact(6).find_map(|setting| {
        let (id, value) = setting.split_at(2);
        (id == [0, 3]).then(|| u32::from_be_bytes(value.try_into().unwrap()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_a_key_alone_has_one_call_at_a_time_and_nodes_have_many() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let address = server.addresses().agents.to_string();
    let string = join_string(&server).await;
    let key = LocalKey::generate(KeyKind::P256).unwrap();
    assert_eq!(streams(&address, stranger(&string, &key)).await, Some(1));
    let node = join(&string).await;
    assert!(
        node.svid
            .spiffe_id
            .starts_with(&format!("spiffe://{}/", domain()))
    );
    assert_eq!(streams(&address, node.tls()).await, Some(32));
    server.shutdown();
    server.finished().await.unwrap();
}
