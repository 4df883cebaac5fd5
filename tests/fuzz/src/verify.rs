//! Verifiers: nothing stands that was not signed.

use crate::laws::is_fit_to_print;
use signet_check::machine::{self, MachineTrust};
use signet_corpus::{Case, Kind, Manifest, Verdict};
use signet_time::UnixTime;
use signet_x509::{Certificate, Csr, Der};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The right files of one kind, and what they are judged by.
struct Right {
    manifest: Manifest,
    cases: Vec<Case>,
    files: BTreeSet<Vec<u8>>,
}

impl Right {
    fn read(kind: Kind) -> Result<Self, signet_corpus::Failure> {
        let manifest = Manifest::read()?;
        let right = manifest
            .cases
            .iter()
            .filter(|case| case.kind == kind && case.refused.is_none());
        let cases: Vec<_> = right.cloned().collect();
        let files = cases.iter().map(Case::bytes).collect::<Result<_, _>>()?;
        Ok(Self {
            manifest,
            cases,
            files,
        })
    }

    fn of(kind: Kind, once: &'static OnceLock<Self>) -> &'static Self {
        once.get_or_init(|| match Self::read(kind) {
            Ok(right) if !right.cases.is_empty() => right,
            Ok(_) => no_corpus("no right file"),
            Err(error) => no_corpus(&error.to_string()),
        })
    }

    /// By the bundles and the time of each right file, `bytes` stand only if `is_signed` knows them from one.
    fn judge(&self, bytes: &[u8], is_signed: impl Fn(&[u8], &[u8]) -> bool) {
        for case in &self.cases {
            match case.judge(bytes, &self.manifest) {
                Ok(Verdict::Accepted) => {
                    let known = self.files.iter().any(|file| is_signed(bytes, file));
                    assert!(
                        known,
                        "taken by the bundles of {}, and signed by nobody",
                        case.file
                    );
                }
                Ok(Verdict::Refused(refusal)) => is_fit_to_print(&refusal.says),
                // Not even cut into parts.
                Err(_) => {}
            }
        }
    }
}

pub(crate) fn tokens(bytes: &[u8]) {
    static RIGHT: OnceLock<Right> = OnceLock::new();
    // All but the signature: of one message there may be several good ones.
    fn signed(token: &[u8]) -> &[u8] {
        let dot = token.iter().rposition(|b| *b == b'.').unwrap_or(token.len());
        token.get(..dot).unwrap_or(token)
    }
    Right::of(Kind::Token, &RIGHT).judge(bytes, |token, right| signed(token) == signed(right));
}

pub(crate) fn chains(bytes: &[u8]) {
    static RIGHT: OnceLock<Right> = OnceLock::new();
    // What stands after the leaf need not be used, and signatures have several forms: what the leaf says counts.
    fn leaf(chain: &[u8]) -> Option<Vec<u8>> {
        let certificates = signet_corpus::certificates(chain).ok()?;
        signed(certificates.first()?).map(<[u8]>::to_vec)
    }
    Right::of(Kind::Chain, &RIGHT).judge(bytes, |chain, right| {
        leaf(chain).is_some_and(|l| leaf(right) == Some(l))
    });
}

pub(crate) fn machine_chains(bytes: &[u8]) {
    match machine::split(bytes) {
        Ok(cut) => {
            assert!(cut.len() <= machine::CHAIN_MAX);
            assert_eq!(cut.concat(), bytes);
            let certificates: Vec<_> = cut.iter().map(|der| Der::from(der.to_vec())).collect();
            match MachineTrust::new(&certificates) {
                Ok(trust) => {
                    // Whoever has certificates and no key proves nothing.
                    let Some(key) = cut
                        .first()
                        .and_then(|der| Certificate::parse(der).ok()?.public_key().ok())
                    else {
                        return;
                    };
                    let binding = machine::Binding([0; 32]);
                    let proved =
                        trust.verify(&cut, bytes, &binding, &key, UnixTime::from_secs(1_800_000_000));
                    assert!(proved.is_err(), "a machine without a signature");
                }
                Err(error) => is_fit_to_print(&error),
            }
        }
        Err(error) => is_fit_to_print(&error),
    }
}

/// The to-be-signed part of a certificate or request in DER: the first element inside.
fn signed(der: &[u8]) -> Option<&[u8]> {
    let inner = der.get(head(der)?.0..)?;
    let (head, length) = head(inner)?;
    inner.get(..head.checked_add(length)?)
}

/// How long an element's head is, and its content.
fn head(der: &[u8]) -> Option<(usize, usize)> {
    match *der {
        [_, short @ ..=0x7f, ..] => Some((2, short.into())),
        [_, 0x81, long, ..] => Some((3, long.into())),
        [_, 0x82, high, low, ..] => Some((4, u16::from_be_bytes([high, low]).into())),
        _ => None,
    }
}

pub(crate) fn csrs(bytes: &[u8]) {
    static RIGHT: OnceLock<Right> = OnceLock::new();
    match Csr::parse(bytes) {
        Ok(csr) => {
            // Only the holder of its key can have made it, so it is one of those that were made.
            let right = Right::of(Kind::Request, &RIGHT);
            let known = right.files.iter().any(|file| signed(file) == signed(bytes));
            assert!(known, "a request that nobody signed");
            assert!(csr.dns_names.len() <= Csr::NAMES_MAX);
        }
        Err(error) => is_fit_to_print(&error),
    }
}

/// The corpus is in the repository: without it nothing can be said.
fn no_corpus(why: &str) -> ! {
    eprintln!("the negative corpus cannot be read: {why}");
    std::process::abort()
}
