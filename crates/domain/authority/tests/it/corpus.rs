//! The one file of the corpus whose fault the authority alone can see.

use crate::{World, x509};
use signet_authority::X509Request;
use signet_fault::Coded as _;
use signet_testkit::START;
use signet_x509::Csr;

/// A request for an ID of `example.com`, right otherwise.
const FOREIGN: &[u8] = include_bytes!("../../../../../tests/corpus/files/request_foreign_domain.der");

#[tokio::test]
async fn spiffe_28_a_request_for_an_id_of_another_domain_is_refused() {
    let csr = Csr::parse(FOREIGN).unwrap();
    assert_eq!(csr.uri_names, ["spiffe://example.com/web"]);
    let request = X509Request { csr, ..x509("/a") };
    let error = World::new().await.issue(request, START).await.unwrap_err();
    assert_eq!(error.code(), "SGAU005", "{error}");
}
