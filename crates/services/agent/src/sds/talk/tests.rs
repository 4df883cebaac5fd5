use super::*;
use prost_types::{Struct, Value};

fn talk() -> Talk {
    Talk::new(Arc::default(), Extent::Changes)
}

fn asks(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        type_url: SECRET_TYPE.to_owned(),
        ..DiscoveryRequest::default()
    }
}

fn answers(nonce: &str, version: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        response_nonce: nonce.to_owned(),
        version_info: version.to_owned(),
        ..asks(&["default"])
    }
}

/// After one response, which had the nonce 1 and the version v1.
fn answered() -> Talk {
    let mut talk = talk();
    talk.hear(&asks(&["default"])).expect("subscription");
    talk.told.insert("default".to_owned(), Told::Is("s1".to_owned()));
    talk.count = 1;
    "v1".clone_into(&mut talk.version);
    talk
}

#[test]
fn spiffe_101_an_answer_is_told_by_its_nonce_and_its_version() {
    let mut talk = answered();
    assert_eq!(talk.hear(&answers("1", "v1")).expect("heard"), Heard::Ack);
    for nonce in ["", "0", "2", "1 "] {
        assert_eq!(talk.hear(&answers(nonce, "v1")).expect("heard"), Heard::Stale);
    }
    assert!(matches!(
        talk.hear(&answers("1", "v0")).expect("heard"),
        Heard::Nack(_)
    ));
    assert!(matches!(
        talk.hear(&answers("1", "")).expect("heard"),
        Heard::Nack(_)
    ));
    // Some clients name the right version all the same.
    let mut refused = answers("1", "v1");
    refused.error_detail = Some(Status {
        code: 13,
        message: "no".to_owned(),
    });
    assert_eq!(talk.hear(&refused).expect("heard"), Heard::Nack("no".to_owned()));
    assert_eq!(talk.told.len(), 1, "what was refused is not sent again");
}

#[test]
fn spiffe_101_what_a_client_says_of_a_refusal_is_cut_and_shown_safely() {
    let mut refused = answers("1", "v0");
    refused.error_detail = Some(Status {
        code: 13,
        message: "\u{1b}[2J\n".to_owned() + &"a".repeat(1 << 16),
    });
    let Ok(Heard::Nack(reason)) = answered().hear(&refused) else {
        panic!("no refusal")
    };
    assert!(
        reason.len() < 1024 && !reason.contains(['\u{1b}', '\n']),
        "{reason}"
    );
}

#[test]
fn spiffe_101_a_stale_request_changes_nothing() {
    let mut talk = answered();
    let mut stale = answers("0", "v1");
    stale.resource_names = vec!["nonsense".to_owned()];
    assert_eq!(talk.hear(&stale).expect("not even read"), Heard::Stale);
    assert!(talk.wants_certificates());
}

#[test]
fn spiffe_101_resources_of_another_type_are_an_error() {
    let mut clusters = asks(&["default"]);
    clusters.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    assert!(matches!(
        talk().hear(&clusters),
        Err(AgentError::SecretRequest(_))
    ));
}

#[test]
fn nothing_named_is_everything_at_first_and_nothing_later() {
    let mut talk = talk();
    talk.hear(&asks(&[])).expect("subscription");
    assert!(talk.asked.everything);
    let mut talk = answered();
    let mut lets_go = answers("1", "v1");
    lets_go.resource_names.clear();
    talk.hear(&lets_go).expect("heard");
    assert!(!talk.wants_certificates());
    assert_eq!(talk.told.len(), 0);
}

#[test]
fn spiffe_100_a_node_chooses_who_validates_by_true_or_false_and_nothing_else() {
    let validation = |kind: Kind| {
        let fields = [(DISABLE.to_owned(), Value { kind: Some(kind) })];
        let mut request = asks(&["ROOTCA"]);
        request.node = Some(Node {
            metadata: Some(Struct {
                fields: fields.into_iter().collect(),
            }),
            ..Node::default()
        });
        let mut talk = talk();
        talk.hear(&request).map(|_| talk.validation)
    };
    let text = |text: &str| Kind::StringValue(text.to_owned());
    for off in [Kind::BoolValue(true), text("true")] {
        assert_eq!(validation(off).expect("off"), Validation::Chain);
    }
    for on in [Kind::BoolValue(false), text("false")] {
        assert_eq!(validation(on).expect("on"), Validation::Spiffe);
    }
    for neither in [text("yes"), text(""), Kind::NumberValue(1.0), Kind::NullValue(0)] {
        assert!(matches!(validation(neither), Err(AgentError::SecretRequest(_))));
    }
}
