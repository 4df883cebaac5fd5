//! What must hold when the server is back.

use super::ledger::Place;
use super::load::{WITHIN, base};
use super::{Campaign, public};
use core::time::Duration;
use signet_workload::{WorkloadClient, WorkloadError};
use std::collections::BTreeMap;
use std::time::Instant;

impl Campaign {
    pub(super) async fn wait_until_ready(&mut self, started: Instant) {
        while self.world.admin.status().await.as_deref() != Some("ready") {
            assert!(self.server.is_alive(), "the server did not start again");
            assert!(started.elapsed() < WITHIN, "the server is not healthy again");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.counts.ready_max = self.counts.ready_max.max(started.elapsed());
        self.fleet.wait(&self.fleet.server_metrics);
    }

    pub(super) async fn check_keys(&mut self) {
        let keys = self.world.admin.keys().await;
        keys.continue_from(&self.keys);
        self.keys = keys;
        let documents = public::documents(&self.public).await;
        for (earlier, now) in self.documents.iter().zip(&documents) {
            public::keys_continue(earlier, now);
        }
        self.documents = documents;
    }

    pub(super) async fn check_state(&mut self) {
        let entries = self.world.admin.entries().await;
        self.counts.entries_max = self.counts.entries_max.max(entries.len());
        self.world.entries.lock().unwrap().check(entries).unwrap();
        let nodes = self.world.admin.nodes().await;
        self.counts.nodes = nodes.len();
        let ours = nodes.iter().find(|node| node.id == self.node.id);
        let ours = ours.expect("the agent's node");
        assert_eq!(
            ours.key_sha256, self.node.key_sha256,
            "the same node has the same key"
        );
        let places: BTreeMap<_, _> = nodes
            .iter()
            .map(|node| {
                let (banned, certified) = (node.banned, node.serial.is_some());
                (node.id.to_string(), Place { banned, certified })
            })
            .collect();
        self.world.nodes.lock().unwrap().check(places).unwrap();
        // Some may be newer than what was read of the journal, so all are looked for when it is read next.
        self.certified = nodes
            .into_iter()
            .filter_map(|node| Some((node.serial?, node.id.to_string())))
            .collect();
    }

    /// Waits for a token that only the server can have made just now. Returns how long that took.
    pub(super) async fn fetch_token(&self, name: &str) -> Duration {
        let since = Instant::now();
        let audience = format!("after {name}");
        loop {
            let client = WorkloadClient::connect(&self.world.workload_api).await.unwrap();
            match client
                .fetch_jwt(core::slice::from_ref(&audience), Some(&base()))
                .await
            {
                Ok(svids) => {
                    svids
                        .iter()
                        .for_each(|svid| self.world.issued.token(svid, &audience));
                    return since.elapsed();
                }
                Err(WorkloadError::Unavailable { .. } | WorkloadError::NoIdentity { .. }) => {
                    assert!(since.elapsed() < WITHIN, "the agent does not serve again");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Streams that were open all the time show what is new since the crash, and show it no more when it is gone.
    pub(super) async fn check_streams(&mut self, number: u64) {
        let round = self.begin_round(number);
        let left = self
            .world
            .entries
            .lock()
            .unwrap()
            .there("spiffe://fleet.test/x509-");
        for (_, doc) in left {
            round.delete(&doc).await.unwrap();
        }
        let marker = round
            .create_for(&format!("/marker/{number}"), self.world.uid)
            .await
            .unwrap();
        let wanted = marker.spiffe_id.to_string();
        for seen in &mut self.seen {
            let shown = seen.wait_for(|ids| ids.contains(&wanted));
            tokio::time::timeout(WITHIN, shown)
                .await
                .expect("an open stream shows a new identity")
                .expect("the stream goes on");
        }
        round.delete(&marker).await.unwrap();
        for seen in &mut self.seen {
            let gone = seen.wait_for(|ids| !ids.contains(&wanted));
            tokio::time::timeout(WITHIN, gone)
                .await
                .expect("an open stream shows no identity that is gone")
                .expect("the stream goes on");
        }
    }
}
