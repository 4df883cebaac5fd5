use crate::directory::{options, run_config};
use crate::world::{Wall, clock, create_entry, domain, join, join_string, start};
use signet_check::jwt::validate_svid;
use signet_check::x509::verify_svid;
use signet_crypto::{KeyKind, LocalKey};
use signet_feed::bundle_from_proto;
use signet_id::SpiffeId;
use signet_jose::base64url;
use signet_keys::{JwtAlgorithm, X509Algorithm};
use signet_proto::agent::v1::issue_answer::Outcome;
use signet_proto::agent::v1::issue_item::Wish;
use signet_proto::agent::v1::{IssueItem, IssueRequest, JwtWish, WitWish, X509Wish};
use signet_server::{Config, InitOptions, init};
use signet_time::Clock as _;
use signet_trust::TrustView;
use signet_x509::{Certificate, Der, make_csr};

/// Two kinds of leaf below each authority: what agents make, and one that is as strong as the strongest authority.
const LEAVES: [KeyKind; 2] = [KeyKind::P256, KeyKind::MlDsa87];

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_every_algorithm_is_made_and_serves_over_mutual_tls() {
    for (x509, jwt) in X509Algorithm::ALL.into_iter().zip(JwtAlgorithm::ALL) {
        let dir = tempfile::tempdir().unwrap();
        let wanted = InitOptions {
            x509,
            jwt,
            ..options(dir.path())
        };
        let summary = init(wanted, clock()).await.unwrap();
        let written = Config::load(&summary.config).unwrap();
        assert_eq!((written.x509, written.jwt), (x509, jwt));
        // The settings of the run are other ones: the keys are those that were made.
        let server = start(run_config(dir.path())).await;
        let entry = create_entry(&server, "/w").await;
        let id = entry.id.unwrap();
        let entry_id: Vec<u8> = (0..16)
            .map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        let node = join(&join_string(&server).await).await;
        let view = TrustView::new(domain())
            .with_bundle(bundle_from_proto(node.svid.bundle.as_ref().unwrap()).unwrap());

        let mut wishes = vec![Wish::Jwt(JwtWish {
            audience: vec!["a".into()],
        })];
        let csr = make_csr(&LocalKey::generate(KeyKind::P256).unwrap(), None, &[]).unwrap();
        wishes.push(Wish::Wit(WitWish { csr: csr.into() }));
        for kind in LEAVES {
            let csr = make_csr(&LocalKey::generate(kind).unwrap(), None, &[]).unwrap();
            wishes.push(Wish::X509(X509Wish { csr: csr.into() }));
        }
        let items = wishes.into_iter().map(|wish| IssueItem {
            entry_id: entry_id.clone().into(),
            wish: Some(wish),
            ..IssueItem::default()
        });
        let request = IssueRequest {
            items: items.collect(),
        };
        let mut client = node.connect(&server.addresses().agents.to_string());
        let answers = client.issue(request).await.unwrap().into_inner().answers;
        let (mut kinds, mut signed_with) = (Vec::new(), Vec::new());
        for answer in answers {
            match answer.outcome.unwrap() {
                Outcome::Jwt(issued) => {
                    let verified = validate_svid(&issued.token, "a", &view, Wall.now()).unwrap();
                    assert_eq!(verified.id, SpiffeId::new(&domain(), "/w").unwrap(), "{jwt:?}");
                    signed_with.push(header(&issued.token)["alg"].clone());
                }
                Outcome::Wit(issued) => {
                    let header = header(&issued.token);
                    assert_eq!(header["typ"], "wit+jwt");
                    signed_with.push(header["alg"].clone());
                }
                Outcome::X509(issued) => {
                    let chain: Vec<_> = issued.chain.iter().map(|der| Der::from(der.to_vec())).collect();
                    verify_svid(&chain, &view, Wall.now()).unwrap();
                    let key = |n: usize| Certificate::parse(&chain[n]).unwrap().public_key().unwrap();
                    assert_eq!(key(1).kind().as_str(), x509.as_str());
                    kinds.push(key(0).kind());
                }
                Outcome::Refusal(refusal) => panic!("{x509:?} {jwt:?}: {refusal:?}"),
            }
        }
        assert_eq!(kinds, LEAVES);
        assert_eq!(signed_with.len(), 2);
        assert_eq!(
            signed_with[0], signed_with[1],
            "one setting for both kinds of token"
        );
        server.shutdown();
        server.finished().await.unwrap();
    }
}

fn header(token: &str) -> serde_json::Value {
    let bytes = base64url::decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
