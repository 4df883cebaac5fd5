//! Identities that depend on facts: what may be written, and what comes of it.

use crate::{draft, fields, id, key, open, origin};
use signet_decision::{Action, Verdict};
use signet_id::SpiffeId;
use signet_registry::{
    ClaimError, Claims, EntryFilter, EntryId, JoinTokenWish, NewEntry, Registry, RegistryError, limits,
};
use signet_store::memory::MemoryLog;
use signet_testkit::START;

const USER: &str = "/host/{node.id}/user/{unix.user}";

async fn join(registry: &Registry, path: &str) -> Result<SpiffeId, RegistryError> {
    let wish = JoinTokenWish {
        spiffe_id: Some(id(path).to_string()),
        ..JoinTokenWish::default()
    };
    let (secret, _) = registry.create_join_token(&wish, origin()).await?;
    let node = registry
        .attest_with_token(&secret.expose(), &key(), START)
        .await?;
    Ok(node.id.clone())
}

async fn entry(registry: &Registry, path: &str) -> EntryId {
    registry
        .create(&[draft(path, "unix:group:staff")], origin())
        .await
        .unwrap()[0]
        .id
}

fn claims(path: &str, facts: &[(&str, &str)]) -> Claims {
    Claims {
        spiffe_id: if path.is_empty() {
            String::new()
        } else {
            format!("spiffe://dev.test{path}")
        },
        facts: facts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

/// What `node` gets for `claims` of the entry, or why nothing.
fn asked(
    registry: &Registry,
    node: &SpiffeId,
    entry: EntryId,
    claims: &Claims,
) -> Result<String, Option<ClaimError>> {
    let found = registry.read(|state| state.entitlement(node, entry, claims, Action::ISSUE_X509_SVID, START));
    match (found.decision.verdict(), found.spiffe_id, found.entry) {
        (Verdict::Allow, Some(id), Some(_)) => {
            let resource = signet_decision::Resource::identity(&id);
            assert!(
                found
                    .decision
                    .permit_for(Action::ISSUE_X509_SVID, &resource)
                    .is_ok()
            );
            Ok(id.path().to_owned())
        }
        (Verdict::Deny, None, None) => Err(found.claim),
        other => panic!("{other:?}"),
    }
}

/// `node.id` of a node: the documentation tells how anybody finds it.
fn digits(node: &SpiffeId) -> String {
    let hash = signet_crypto::digest::sha256(node.as_str().as_bytes());
    signet_crypto::digest::hex(&hash)[..32].to_owned()
}

#[tokio::test]
async fn what_is_bound_to_no_node_or_is_no_fact_is_refused_when_it_is_written() {
    let registry = open(MemoryLog::new()).await;
    for (path, why) in [
        (
            "/user/{unix.user}",
            "is the agent's word, so it only stands below `{node.id}`",
        ),
        ("/host/{node.name}/{unix.user}", "only stands below `{node.id}`"),
        ("/host/{unix.user}/{node.id}", "only stands below `{node.id}`"),
        ("/{node.id}/{unix.user}", "the first path segment is no fact"),
        ("/{unix.user}", "the first path segment is no fact"),
        ("/signet/{node.id}", "kept for our own processes"),
        ("/signet/server/{node.id}", "kept for our own processes"),
        ("/host/{node.id}/{unix.supplementary_gid}", "several values"),
        ("/host/{node.id}/{unix.supplementary_group}", "several values"),
        ("/host/{node.id}/{systemd.slice}", "several values"),
        ("/host/{node.id}/{unix.path}", "is a path, and never one segment"),
        ("/host/{node.id}/{k8s.ns}", "is no fact of this version"),
        ("/host/{node.id}/u-{unix.uid}", "stands alone between slashes"),
        (
            "/host/{node.id}/{unix.uid}{unix.gid}",
            "stands alone between slashes",
        ),
        ("/host/{node.id}/../{unix.uid}", "empty, `.` or `..`"),
        ("/host/{node.id}/%2f/{unix.uid}", "path has `%`"),
        ("/host/{node.id}//{unix.uid}", "empty, `.` or `..`"),
    ] {
        let error = registry
            .create(&[draft(path, "unix:uid:1")], origin())
            .await
            .unwrap_err();
        assert_eq!(fields(&error), ["spiffe_id"], "{path}");
        assert!(error.to_string().contains(why), "{path}: {error}");
    }
    let foreign = NewEntry {
        spiffe_id: "spiffe://other.test/host/{node.id}".to_owned(),
        ..draft("/a", "unix:uid:1")
    };
    let error = registry.create(&[foreign], origin()).await.unwrap_err();
    assert!(
        error.to_string().contains("the trust domain is `other.test`"),
        "{error}"
    );
}

#[tokio::test]
async fn each_node_gives_what_is_its_own() {
    let log = MemoryLog::new();
    let registry = open(log.clone()).await;
    let (one, two) = (
        join(&registry, "/rack/1").await.unwrap(),
        join(&registry, "/rack/2").await.unwrap(),
    );
    let user = entry(&registry, USER).await;
    let exporter = entry(&registry, "/exporter/{node.name}/{node.id}").await;
    let plain = entry(&registry, "/plain").await;
    // As it is read from the log again.
    for registry in [&registry, &open(log).await] {
        for (node, name) in [(&one, "1"), (&two, "2")] {
            let ann = format!("/host/{}/user/ann", digits(node));
            let said = claims(&ann, &[("unix.user", "ann")]);
            assert_eq!(asked(registry, node, user, &said), Ok(ann));
            let own = format!("/exporter/{name}/{}", digits(node));
            assert_eq!(asked(registry, node, exporter, &claims(&own, &[])), Ok(own));
            assert_eq!(
                asked(registry, node, plain, &Claims::default()),
                Ok("/plain".to_owned())
            );
        }
        let shown = registry.read(|state| state.entry(user)).unwrap();
        assert_eq!(shown.spiffe_id.path(), USER);
        let on = shown.pattern_on(&one);
        assert_eq!(on.path(), format!("/host/{}/user/{{unix.user}}", digits(&one)));
        let filter = EntryFilter {
            spiffe_id: Some(shown.spiffe_id.clone()),
            ..EntryFilter::default()
        };
        let found = registry.read(|state| state.scan(None, &filter, 100, 100)).found;
        assert_eq!(found.len(), 1);
    }
}

/// Every way in which an agent could ask for what is not its own.
#[tokio::test]
async fn a_hostile_agent_gets_nothing() {
    let registry = open(MemoryLog::new()).await;
    let (one, two) = (
        join(&registry, "/rack/1").await.unwrap(),
        join(&registry, "/rack/2").await.unwrap(),
    );
    let user = entry(&registry, USER).await;
    let unit = entry(&registry, "/host/{node.id}/unit/{systemd.unit}/{unix.uid}").await;
    let plain = entry(&registry, "/plain").await;
    let elsewhere = NewEntry {
        parent_id: Some(two.to_string()),
        ..draft(USER, "unix:uid:9")
    };
    let elsewhere = registry.create(&[elsewhere], origin()).await.unwrap()[0].id;
    let (here, there) = (digits(&one), digits(&two));
    let ann = format!("/host/{here}/user/ann");
    let refused = |entry, path: &str, facts: &[(&str, &str)]| {
        asked(&registry, &one, entry, &claims(path, facts))
            .expect_err(path)
            .expect("it is told why")
    };
    let is_other = |error: &ClaimError| matches!(error, ClaimError::Other { .. });
    // Another node's identity, whatever is said of it.
    let other = format!("/host/{there}/user/ann");
    assert!(is_other(&refused(user, &other, &[("unix.user", "ann")])));
    // Another user's than the one that is said, and one that lies elsewhere.
    assert!(is_other(&refused(
        user,
        &format!("/host/{here}/user/bob"),
        &[("unix.user", "ann")]
    )));
    assert!(is_other(&refused(user, "/plain", &[("unix.user", "ann")])));
    assert!(is_other(&refused(
        user,
        &format!("{ann}/more"),
        &[("unix.user", "ann")]
    )));
    assert!(is_other(&refused(
        user,
        &format!("/host/{here}/../{here}/user/ann"),
        &[("unix.user", "ann")]
    )));
    // Values that are no segment.
    for value in [
        ".",
        "..",
        "/",
        "a/b",
        "../bob",
        "%2f",
        "a%2Fb",
        "a b",
        "a:b",
        "a@b",
        "ä",
        "a\\b",
        "{unix.user}",
        "{node.id}",
    ] {
        let path = format!("/host/{here}/user/{value}");
        let error = refused(user, &path, &[("unix.user", value)]);
        assert!(matches!(error, ClaimError::Expand(_)), "{value}: {error}");
    }
    for value in ["", "a\0b", "a\nb", &"a".repeat(2_000)] {
        let path = format!("/host/{here}/user/{value}");
        let error = refused(user, &path, &[("unix.user", value)]);
        assert!(matches!(error, ClaimError::Value { .. }), "{value}: {error}");
    }
    // A legal segment that no attestor would state.
    for (name, value) in [
        ("unix.uid", "root"),
        ("unix.uid", "007"),
        ("systemd.unit", "nginx"),
    ] {
        let facts = [("unix.uid", "7"), ("systemd.unit", "a.service")];
        let facts = facts.map(|(one, good)| (one, if one == name { value } else { good }));
        let error = refused(unit, &format!("/host/{here}/unit/x/7"), &facts);
        assert!(
            matches!(error, ClaimError::Value { .. }),
            "{name} {value}: {error}"
        );
    }
    // A unit whose name is legal, and no segment.
    let error = refused(
        unit,
        "/x",
        &[("unix.uid", "7"), ("systemd.unit", "getty@tty1.service")],
    );
    assert!(matches!(error, ClaimError::Expand(_)), "{error}");
    // Too few facts, too many, twice, and such as are not an agent's to say.
    assert!(matches!(refused(user, &ann, &[]), ClaimError::Expand(_)));
    let error = refused(user, &ann, &[("unix.user", "ann"), ("unix.uid", "7")]);
    assert!(matches!(error, ClaimError::NotAsked { .. }), "{error}");
    for second in ["ann", "bob"] {
        let error = refused(user, &ann, &[("unix.user", "ann"), ("unix.user", second)]);
        assert!(matches!(error, ClaimError::Twice { .. }), "{error}");
    }
    for name in ["node.id", "node.name"] {
        let error = refused(user, &other, &[("unix.user", "ann"), (name, &there)]);
        assert!(matches!(error, ClaimError::NotClaimable { .. }), "{error}");
    }
    for name in [
        "k8s.ns",
        "unix.path",
        "unix.supplementary_gid",
        "",
        "unix.user ",
        "UNIX.USER",
    ] {
        let error = refused(user, &ann, &[(name, "ann")]);
        assert!(matches!(error, ClaimError::Fact(_)), "{name}: {error}");
    }
    assert!(matches!(
        refused(user, &ann, &[("unix.user", "ann"); 17]),
        ClaimError::Count { .. }
    ));
    // No identity at all, as an agent that knows of no templates asks.
    assert!(matches!(refused(user, "", &[]), ClaimError::NoIdentity));
    // Another entry's identity, through an entry that takes no facts or with the facts of another template.
    assert!(matches!(
        refused(plain, &ann, &[("unix.user", "ann")]),
        ClaimError::NoTemplate
    ));
    assert!(is_other(&refused(plain, &ann, &[])));
    assert!(matches!(
        refused(unit, &ann, &[("unix.user", "ann")]),
        ClaimError::NotAsked { .. }
    ));
    // An entry of another node is like one that is not there: nothing is told.
    let said = claims(&other, &[("unix.user", "ann")]);
    assert_eq!(asked(&registry, &one, elsewhere, &said), Err(None));
    assert_eq!(
        asked(&registry, &one, EntryId::from_bytes([9; 16]), &said),
        Err(None)
    );
    // After all that, what is its own.
    assert_eq!(
        asked(&registry, &one, user, &claims(&ann, &[("unix.user", "ann")])),
        Ok(ann.clone())
    );
    registry.ban_node(&one, "stolen", origin()).await.unwrap();
    assert_eq!(
        asked(&registry, &one, user, &claims(&ann, &[("unix.user", "ann")])),
        Err(None)
    );
}

#[tokio::test]
async fn what_a_template_could_give_is_no_nodes_name() {
    let registry = open(MemoryLog::new()).await;
    let node = join(&registry, "/rack/1").await.unwrap();
    // It would give the node what the node is itself.
    let error = registry
        .create(&[draft("/rack/{node.name}", "unix:uid:1")], origin())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RegistryError::IdentityOfNode { id } if *id == node),
        "{error}"
    );
    let bad = registry.problems(&[draft("/rack/{node.name}", "unix:uid:1")], START);
    assert!(
        bad[0].problems[0]
            .message
            .contains("could give `spiffe://dev.test/rack/1`"),
        "{bad:?}"
    );
    entry(&registry, "/shelf/{node.name}").await;
    let error = join(&registry, "/shelf/7").await.unwrap_err();
    assert!(matches!(error, RegistryError::IdentityOfEntry { .. }), "{error}");
    join(&registry, "/shelf/7/8").await.unwrap();
}

#[tokio::test]
async fn there_are_only_so_many_templates() {
    let registry = open(MemoryLog::new()).await;
    let template = |n: usize| draft(&format!("/t{n}/{{node.id}}"), "unix:uid:1");
    let all: Vec<_> = (0..limits::TEMPLATES_MAX).map(template).collect();
    let made = registry.create(&all, origin()).await.unwrap();
    let error = registry
        .create(&[template(limits::TEMPLATES_MAX)], origin())
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Templates { .. }), "{error}");
    // One that is a template already may say something else, and entries of one identity are not counted.
    let changed = template(limits::TEMPLATES_MAX + 1);
    registry
        .update(made[0].id, &changed, None, origin())
        .await
        .unwrap();
    entry(&registry, "/plain").await;
    registry.delete(made[1].id, None, origin()).await.unwrap();
    registry
        .create(&[template(limits::TEMPLATES_MAX)], origin())
        .await
        .unwrap();
}

#[tokio::test]
async fn agents_that_know_of_no_templates_hold_what_is_none() {
    let registry = open(MemoryLog::new()).await;
    let (one, two) = (
        join(&registry, "/rack/1").await.unwrap(),
        join(&registry, "/rack/2").await.unwrap(),
    );
    let plain = entry(&registry, "/plain").await;
    let before = registry.read(|state| state.digest(&one));
    let place = registry.read(|state| state.recent().place()).unwrap();
    let on_two = NewEntry {
        parent_id: Some(two.to_string()),
        ..draft("/t/{node.id}", "unix:uid:1")
    };
    registry.create(&[on_two], origin()).await.unwrap();
    let templates = |node: &SpiffeId| registry.read(|state| state.recent().templates_since(&place, node));
    let digest =
        |node: &SpiffeId| registry.read(|state| (state.digest(node), state.digest_without_templates(node)));
    assert_eq!((templates(&one), templates(&two)), (Some(false), Some(true)));
    assert_eq!(digest(&one), (before, before));
    assert_eq!(digest(&two).1, before);
    // What becomes a template is gone for them, and what was one was never there.
    registry
        .update(plain, &draft("/t/{node.id}", "unix:uid:2"), None, origin())
        .await
        .unwrap();
    assert_eq!(templates(&one), Some(true));
    assert_eq!(digest(&one).1, signet_crypto::SetHash::default());
    let place = registry.read(|state| state.recent().place()).unwrap();
    registry
        .update(plain, &draft("/plain", "unix:uid:2"), None, origin())
        .await
        .unwrap();
    assert_eq!(
        registry.read(|state| state.recent().templates_since(&place, &one)),
        Some(true)
    );
    let (all, without) = digest(&one);
    assert_eq!(all, without);
}
