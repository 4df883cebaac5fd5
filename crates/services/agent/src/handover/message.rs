use crate::identity::InUse;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// What two agents say to each other, as JSON. Fields that are not known are left alone; what must be understood gets
/// another version.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// First, from the one that wants to take over. Stays as it is in every version.
    Hello(Hello),
    /// The answer, with descriptors: one for each listener, then the lock of the state directory, then a handle on the
    /// process.
    Offer(Offer),
    /// The other answer, and the last word. Stays as it is in every version.
    Refused(Refused),
    /// The one that takes over is ready and accepts.
    Ready(Ready),
    /// The one that ran does not write the state directory any more, and accepts nobody.
    Done(Done),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The versions that are spoken.
    pub(super) versions: Vec<u32>,
    pub(super) software: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// The one that is spoken from now on.
    pub(super) version: u32,
    pub(super) software: String,
    pub(super) listeners: Vec<Listener>,
    pub(super) in_use: Vec<InUse>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Listener {
    pub(super) role: Role,
    pub(super) place: Place,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// The Workload API and secrets for Envoy.
    Workload,
    /// The local API.
    Local,
    /// Metrics and health.
    Metrics,
    /// The next handover.
    Handover,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    /// A socket, and which file it is.
    Unix {
        path: PathBuf,
        dev: u64,
        ino: u64,
    },
    Tcp(SocketAddr),
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) message: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ready {
    /// The listeners that go on; the others' sockets go with the one that ran.
    pub(super) kept: Vec<Role>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents of other versions read and write these: what changes here needs another version.
    #[test]
    fn the_first_version_is_written_as_ever() {
        let written = |message: &Message| serde_json::to_string(message).expect("json");
        let hello = Message::Hello(Hello {
            versions: vec![1],
            software: "s".to_owned(),
        });
        assert_eq!(written(&hello), r#"{"hello":{"versions":[1],"software":"s"}}"#);
        let offer = Message::Offer(Offer {
            version: 1,
            software: "s".to_owned(),
            listeners: vec![
                Listener {
                    role: Role::Workload,
                    place: Place::Unix {
                        path: "/a".into(),
                        dev: 2,
                        ino: 3,
                    },
                },
                Listener {
                    role: Role::Metrics,
                    place: Place::Tcp("127.0.0.1:1".parse().expect("address")),
                },
            ],
            in_use: vec![InUse {
                selectors: vec!["unix:uid:0".parse().expect("selector")],
                x509: vec!["01".to_owned()],
                wit: Vec::new(),
            }],
        });
        assert_eq!(
            written(&offer),
            concat!(
                r#"{"offer":{"version":1,"software":"s","listeners":["#,
                r#"{"role":"workload","place":{"unix":{"path":"/a","dev":2,"ino":3}}},"#,
                r#"{"role":"metrics","place":{"tcp":"127.0.0.1:1"}}],"#,
                r#""in_use":[{"selectors":["unix:uid:0"],"x509":["01"],"wit":[]}]}}"#
            )
        );
        let ready = Message::Ready(Ready {
            kept: vec![Role::Local, Role::Handover],
        });
        assert_eq!(written(&ready), r#"{"ready":{"kept":["local","handover"]}}"#);
        assert_eq!(written(&Message::Done(Done {})), r#"{"done":{}}"#);
        let refused = Message::Refused(Refused {
            code: "c".to_owned(),
            message: "m".to_owned(),
        });
        assert_eq!(written(&refused), r#"{"refused":{"code":"c","message":"m"}}"#);
        for message in [hello, offer, ready, refused] {
            assert_eq!(
                serde_json::from_str::<Message>(&written(&message)).expect("read"),
                message
            );
        }
        let later = r#"{"hello":{"versions":[2,1],"software":"s","more":[]}}"#;
        assert!(matches!(serde_json::from_str(later), Ok(Message::Hello(_))));
    }
}
