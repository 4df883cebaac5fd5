//! New settings for a server that runs.

use crate::world::{ask, config, join, join_string, start};
use http::Method;
use signet_api::{JoinString, ServerView};
use signet_registry::JoinTokenWish;
use signet_server::Config;

#[tokio::test(flavor = "multi_thread")]
async fn the_next_join_string_names_the_address_that_was_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(config(dir.path())).await;
    let listening = server.addresses().agents.to_string();
    assert_eq!(join_string(&server).await.servers, [listening.as_str()]);

    // Any name of this machine, so that whoever reads it arrives.
    let port = server.addresses().agents.port();
    let wanted = vec![format!("localhost:{port}"), "spare.dev.test:8445".to_owned()];
    let new = |advertise: &[String]| Config {
        advertise: advertise.to_vec(),
        site: Some("lab".to_owned()),
        ..config(dir.path())
    };
    let reloader = server.reloader();
    let changes = reloader.take_over(new(&wanted)).unwrap();
    let keys: Vec<_> = changes.taken().iter().map(|taken| taken.key).collect();
    assert_eq!(
        (keys.as_slice(), changes.waiting()),
        (&["advertise"][..], &["metrics.site"][..])
    );
    let told = join_string(&server).await;
    assert_eq!(told.servers, wanted);
    let by_handle = server.join_string(&JoinTokenWish::default()).await.unwrap();
    assert_eq!(JoinString::parse(&by_handle).unwrap().servers, wanted);
    let reply = ask(&server, Method::GET, "/api/v1/server", "").await;
    let view: ServerView = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(view.agents, wanted);
    join(&told).await;

    // Without any it is the port that was opened, as at the start.
    assert_eq!(reloader.take_over(new(&[])).unwrap().taken().len(), 1);
    assert_eq!(join_string(&server).await.servers, [listening.as_str()]);

    server.shutdown();
    assert_eq!(reloader.take_over(new(&wanted)), None);
    server.finished().await.unwrap();
}
