use super::*;
use proptest::prelude::*;

fn template(text: &str) -> IdTemplate {
    IdTemplate::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> TemplateError {
    IdTemplate::parse(text).expect_err(text)
}

fn expanded(text: &str, value: &str) -> Result<SpiffeId, ExpandError> {
    template(text).expand(|_| Ok(value.into()))
}

#[test]
fn whole_segments_stand_for_facts() {
    let it = template("spiffe://td/host/{node.id}/user/{unix.user}/{systemd.user-unit}");
    let facts: Vec<_> = it.facts().collect();
    assert_eq!(
        facts,
        [
            TemplateFact::NodeId,
            TemplateFact::Process(Fact::UNIX_USER),
            TemplateFact::Process(Fact::SYSTEMD_USER_UNIT),
        ]
    );
    let given = it.expand(|fact| match fact {
        TemplateFact::NodeId => Ok("4f1c".into()),
        TemplateFact::Process(Fact::UNIX_USER) => Ok("ann".into()),
        other => Ok(other.name().replace('.', "_").into()),
    });
    assert_eq!(
        given.unwrap().as_str(),
        "spiffe://td/host/4f1c/user/ann/systemd_user-unit"
    );
}

#[test]
fn every_fact_that_can_be_named_is_one_value_of_one_segment() {
    let names: Vec<_> = TemplateFact::all().map(|fact| fact.name().into_owned()).collect();
    assert_eq!(
        names,
        [
            "node.id",
            "node.name",
            "unix.uid",
            "unix.gid",
            "unix.user",
            "unix.group",
            "unix.sha256",
            "systemd.unit",
            "systemd.user-unit",
        ]
    );
    for name in [
        "unix.supplementary_gid",
        "unix.supplementary_group",
        "systemd.slice",
    ] {
        assert!(
            matches!(TemplateFact::parse(name), Err(TemplateError::Several { .. })),
            "{name}"
        );
    }
    assert!(matches!(
        TemplateFact::parse("unix.path"),
        Err(TemplateError::Path { .. })
    ));
    for name in [
        "",
        "k8s.ns",
        "unix",
        "unix:user",
        "Unix.user",
        " unix.user",
        "unix.user ",
        "node.key",
    ] {
        let error = TemplateFact::parse(name).unwrap_err();
        assert!(matches!(error, TemplateError::Unknown { .. }), "{name}");
        assert!(error.to_string().contains("`unix.user`"), "{error}");
    }
}

#[test]
fn what_is_no_template_says_what_is_wrong_with_it() {
    assert_eq!(error("spiffe://td/{node.id}"), TemplateError::First);
    assert_eq!(error("spiffe://td/a"), TemplateError::Constant);
    assert_eq!(error("spiffe://td"), TemplateError::Constant);
    for text in [
        "spiffe://td/a/u-{unix.uid}",
        "spiffe://td/a/{unix.uid}-u",
        "spiffe://td/a/{unix.uid}{unix.gid}",
        "spiffe://td/a/{{unix.uid}}",
        "spiffe://td/a/{unix.uid",
        "spiffe://td/a/unix.uid}",
        "spiffe://td/a/}{",
    ] {
        assert_eq!(error(text), TemplateError::Braces { index: 1 }, "{text}");
    }
    assert!(matches!(error("spiffe://td/a/{}"), TemplateError::Unknown { .. }));
    let many = format!("spiffe://td/a{}", "/{unix.uid}".repeat(17));
    assert_eq!(error(&many), TemplateError::Facts { max: 16 });
    for (text, id_error) in [
        ("http://td/a/{unix.uid}", IdError::Scheme),
        ("spiffe://td/a//{unix.uid}", IdError::PathSegment { index: 1 }),
        ("spiffe://td/a/../{unix.uid}", IdError::PathSegment { index: 1 }),
        ("spiffe://td/a/{unix.uid}/", IdError::PathSegment { index: 2 }),
        (
            "spiffe://td/a/{unix.uid}/%2f",
            IdError::PathByte {
                offset: 14,
                byte: b'%',
            },
        ),
        (
            "spiffe://{node.id}/a/b",
            IdError::TrustDomainByte {
                offset: 0,
                byte: b'{',
            },
        ),
    ] {
        assert_eq!(error(text), TemplateError::Id(id_error), "{text}");
    }
    let long = format!("spiffe://td/{}/{{unix.uid}}", "a".repeat(2_048));
    assert!(matches!(error(&long), TemplateError::Id(IdError::Length { .. })));
}

#[test]
fn what_agents_say_stands_below_what_names_their_node() {
    for text in [
        "spiffe://td/a/{node.id}",
        "spiffe://td/a/{node.name}",
        "spiffe://td/a/{node.id}/{unix.user}",
        "spiffe://td/a/{node.name}/{node.id}/b/{unix.uid}/{unix.gid}",
    ] {
        assert_eq!(template(text).check_bound(), Ok(()), "{text}");
    }
    for text in [
        "spiffe://td/a/{unix.user}",
        "spiffe://td/a/{unix.user}/{node.id}",
        // Two nodes may have the same name.
        "spiffe://td/a/{node.name}/{unix.user}",
    ] {
        let error = template(text).check_bound().unwrap_err();
        let name = "unix.user".to_owned();
        assert_eq!(error, TemplateError::Unbound { name }, "{text}");
    }
}

#[test]
fn a_value_is_one_legal_segment_or_nothing_comes_of_it() {
    let text = "spiffe://td/a/{unix.user}/b";
    for value in [
        "",
        ".",
        "..",
        "/",
        "a/b",
        "../a",
        "a/../b",
        "%2f",
        "a%2fb",
        "a b",
        "a:b",
        "a\\b",
        "a@b",
        "ä",
        "\0",
        "{unix.uid}",
        "a\n",
    ] {
        let error = expanded(text, value).unwrap_err();
        assert!(matches!(error, ExpandError::Segment { .. }), "{value}: {error}");
    }
    for value in ["a", "...", "A-b_C.9", "signet", &"a".repeat(1_900)] {
        let id = expanded(text, value).unwrap();
        assert_eq!(id.as_str(), format!("spiffe://td/a/{value}/b"));
    }
    let error = expanded(text, &"a".repeat(2_048)).unwrap_err();
    assert!(
        matches!(error, ExpandError::Id(IdError::Length { .. })),
        "{error}"
    );
    let reserved = "spiffe://td/signet/{node.name}";
    assert!(template(reserved).is_reserved());
    assert!(matches!(
        expanded(reserved, "x"),
        Err(ExpandError::Reserved { .. })
    ));
    assert!(!template("spiffe://td/signets/{node.name}").is_reserved());
}

#[test]
fn what_is_filled_in_stays_and_the_rest_waits() {
    let it = template("spiffe://td/a/{node.id}/{unix.user}");
    let node = |fact| (fact == TemplateFact::NodeId).then_some(Cow::Borrowed("4f1c"));
    let rest = it.fill(node).unwrap();
    assert_eq!(rest.as_str(), "spiffe://td/a/4f1c/{unix.user}");
    let ann = rest.template().unwrap().expand(|_| Ok("ann".into()));
    assert_eq!(ann.unwrap().as_str(), "spiffe://td/a/4f1c/ann");
    let whole = template("spiffe://td/a/{node.id}").fill(node).unwrap();
    assert_eq!(whole.one().unwrap().as_str(), "spiffe://td/a/4f1c");
    assert!(it.fill(|_| Some("a/b".into())).is_err());
    assert!(it.fill(|_| Some("a".repeat(2_048).into())).is_err());
}

#[test]
fn a_template_could_give_what_differs_in_its_facts_alone() {
    let it = template("spiffe://td/a/{node.id}/b/{unix.user}");
    let could = |text: &str| it.could_give(&SpiffeId::parse(text).unwrap());
    assert!(could("spiffe://td/a/x/b/y"));
    for other in [
        "spiffe://td",
        "spiffe://td/a/x/b",
        "spiffe://td/a/x/b/y/z",
        "spiffe://td/a/x/c/y",
        "spiffe://tb/a/x/b/y",
    ] {
        assert!(!could(other), "{other}");
    }
}

#[test]
fn the_value_of_a_fact_is_the_one_that_was_found() {
    let found =
        |list: &[&str]| -> Vec<Selector> { list.iter().map(|s| Selector::parse(s).unwrap()).collect() };
    let user = TemplateFact::Process(Fact::UNIX_USER);
    let list = found(&["unix:uid:7", "unix:user:a:b", "k8s:user:c", "unix:username:d"]);
    assert_eq!(user.value_in(&list), Ok("a:b"));
    assert!(matches!(
        user.value_in(&found(&["unix:uid:7"])),
        Err(ExpandError::Missing { .. })
    ));
    let two = found(&["unix:user:a", "unix:user:b"]);
    assert!(matches!(user.value_in(&two), Err(ExpandError::Several { .. })));
    assert!(matches!(
        TemplateFact::NodeId.value_in(&list),
        Err(ExpandError::Missing { .. })
    ));
}

#[test]
fn a_pattern_is_an_id_or_a_template() {
    let one = IdPattern::parse("spiffe://td/a/b").unwrap();
    assert_eq!((one.path(), one.template()), ("/a/b", None));
    assert_eq!(one, SpiffeId::parse("spiffe://td/a/b").unwrap());
    let many = IdPattern::parse("spiffe://td/a/{node.id}").unwrap();
    assert_eq!((many.path(), many.one()), ("/a/{node.id}", None));
    assert_ne!(many, SpiffeId::parse("spiffe://td/a/b").unwrap());
    assert!(many.could_give(&SpiffeId::parse("spiffe://td/a/b").unwrap()));
    let json = serde_json_like(&many);
    assert_eq!(json, "spiffe://td/a/{node.id}");
}

/// As a serializer of text sees it.
fn serde_json_like(pattern: &IdPattern) -> String {
    use serde::de::{IntoDeserializer as _, value::Error};
    let text = pattern.to_string();
    let read: Result<IdPattern, Error> = serde::Deserialize::deserialize(text.as_str().into_deserializer());
    assert_eq!(read.as_ref(), Ok(pattern));
    text
}

proptest! {
    /// Whatever the values, what comes of a template is what it could give, and nothing else of it changes.
    #[test]
    fn expansion_fills_segments_and_nothing_else(values in prop::collection::vec("\\PC{0,12}|[A-Za-z0-9._-]{1,12}", 3)) {
        let it = template("spiffe://td/a/{node.id}/b/{unix.user}/{unix.uid}");
        let facts: Vec<_> = it.facts().collect();
        let value_of = |fact| {
            let place = facts.iter().position(|one| *one == fact).unwrap();
            Ok(Cow::Borrowed(values[place].as_str()))
        };
        match it.expand(value_of) {
            Ok(id) => {
                prop_assert!(it.could_give(&id));
                let segments: Vec<_> = id.segments().collect();
                prop_assert_eq!(segments, ["a", &values[0], "b", &values[1], &values[2]]);
            }
            Err(_) => prop_assert!(!values.iter().all(|value| SpiffeId::is_segment(value))),
        }
    }

    #[test]
    fn no_input_panics_and_what_parses_is_unchanged(text in "\\PC{0,60}|spiffe://[a-z]{0,3}(/[a-z{}.]{0,12}){0,5}") {
        if let Ok(it) = IdPattern::parse(&text) {
            prop_assert_eq!(it.as_str(), &text);
            prop_assert_eq!(IdPattern::parse(it.as_str()), Ok(it));
        }
    }
}
