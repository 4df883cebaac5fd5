//! A machine certificate to join with (`[x509pop]`).

use crate::{AgentError, X509PopSettings};
use signet_check::machine::{Binding, sign};
use signet_crypto::{LocalKey, PublicKey, Secret, digest};
use signet_id::TrustDomain;
use signet_proto::agent::v1::X509Pop;
use signet_sys::files;
use signet_x509::{Der, pem};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where the machine's certificate is, and whom to show it to.
pub(crate) struct Machine {
    pub(super) trust_domain: TrustDomain,
    /// SHA-256 of the roots that the server may have.
    pub(super) roots: Vec<[u8; 32]>,
    certificate: PathBuf,
    key: PathBuf,
}

/// What one attempt to join is made with.
pub(super) struct Shown {
    chain: Vec<Der>,
    key: LocalKey,
}

impl Machine {
    /// As `settings` say. Certificate and key are read when they are needed, because they are renewed.
    ///
    /// # Errors
    /// [`AgentError::MachineFile`] or [`AgentError::MachineForm`] for the file of roots.
    pub(crate) fn new(settings: &X509PopSettings) -> Result<Self, AgentError> {
        let roots = certificates(&settings.root)?;
        Ok(Self {
            trust_domain: settings.trust_domain.clone(),
            roots: roots.iter().map(|root| digest::sha256(root)).collect(),
            certificate: settings.certificate.clone(),
            key: settings.key.clone(),
        })
    }

    /// Certificate and key as they are now.
    ///
    /// # Errors
    /// [`AgentError::MachineFile`], [`AgentError::MachineForm`].
    pub(super) fn read(&self) -> Result<Shown, AgentError> {
        let chain = certificates(&self.certificate)?;
        let form = |what| AgentError::MachineForm {
            path: self.key.clone(),
            what,
        };
        let text = contents(&self.key, Readers::NotEverybody)?;
        let pkcs8 = pem::parse_key(text.expose())
            .map_err(|_| form("a private key as PEM, unencrypted and in PKCS #8 (`BEGIN PRIVATE KEY`)"))?;
        let key = LocalKey::from_pkcs8(pkcs8.expose())
            .map_err(|_| form("a private key of a kind that is taken"))?;
        let of_leaf = chain
            .first()
            .map(|leaf| signet_check::x509::match_private_key(leaf, &key));
        match of_leaf {
            Some(Ok(())) => Ok(Shown { chain, key }),
            _ => Err(form("the private key of the machine's certificate")),
        }
    }
}

impl Shown {
    /// What proves the machine over the connection `binding`, on which `node_key` is proved.
    ///
    /// # Errors
    /// [`AgentError::Key`] where the provider fails.
    pub(super) fn evidence(&self, binding: &Binding, node_key: &PublicKey) -> Result<X509Pop, AgentError> {
        let signature = sign(&self.key, binding, node_key).map_err(AgentError::Key)?;
        Ok(X509Pop {
            chain: self.chain.iter().flat_map(|der| der.iter().copied()).collect(),
            signature: signature.into(),
        })
    }
}

enum Readers {
    Anybody,
    /// The owner and a group, but not the whole machine.
    NotEverybody,
}

pub(super) fn certificates(path: &Path) -> Result<Vec<Der>, AgentError> {
    let text = contents(path, Readers::Anybody)?;
    pem::parse_certs(text.expose()).map_err(|_| AgentError::MachineForm {
        path: path.to_owned(),
        what: "certificates as PEM",
    })
}

fn contents(path: &Path, readers: Readers) -> Result<Secret, AgentError> {
    let failed = |source| AgentError::MachineFile {
        path: path.to_owned(),
        source,
    };
    let opened = File::open(path).map_err(failed)?;
    let mode = opened.metadata().map_err(failed)?.mode();
    if matches!(readers, Readers::NotEverybody) && mode & 0o007 != 0 {
        return Err(failed(io::Error::other(
            "everybody may use it: take every right from others (chmod o= PATH)",
        )));
    }
    // Who may change the roots may pass for a server.
    if mode & 0o002 != 0 {
        return Err(failed(io::Error::other(
            "everybody may change it: take the right from others (chmod o-w PATH)",
        )));
    }
    let bytes = files::read_to_end(opened, FILE_BYTES_MAX).map_err(failed)?;
    Ok(Secret::new(bytes))
}

const FILE_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_that_everybody_may_change_is_not_relied_on() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("roots.pem");
        let root = signet_testkit::forge::Authority::root("a.test").certificate;
        fs::write(&path, pem::encode_certs(std::slice::from_ref(&root))).expect("write");
        for (mode, is_taken) in [(0o666, false), (0o646, false), (0o664, true), (0o444, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            assert_eq!(certificates(&path).is_ok(), is_taken, "{mode:o}");
        }
    }
}
