//! Chains that each differ from a right one in one thing, whatever their algorithms: every judge has to refuse them.

use crate::Failure;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use signet_x509::pem;
use std::path::{Path, PathBuf};

/// Writes `spoilt/NAME.pem` in `dir` for each thing that can be spoilt in the chain of `svid.pem`, whose leaf names
/// `path`.
///
/// # Errors
/// Where the chain cannot be read, or has nothing at the place that is to be spoilt.
pub(crate) fn write(dir: &Path, path: &str) -> Result<Vec<PathBuf>, Failure> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(dir.join("svid.pem"))?.collect::<Result<_, _>>()?;
    let folder = dir.join("spoilt");
    std::fs::create_dir_all(&folder)?;
    let mut written = Vec::new();
    let spoilt = [
        ("leaf-signature", 0, &other_signature as Spoil<'_>),
        ("intermediate-signature", 1, &other_signature),
        ("leaf-name", 0, &|der| other_name(der, path)),
    ];
    for (name, place, spoil) in spoilt {
        let mut chain = chain.clone();
        let certificate = chain
            .get_mut(place)
            .ok_or_else(|| format!("a chain of {place} certificates"))?;
        let mut der = certificate.to_vec();
        spoil(&mut der).ok_or_else(|| format!("{name}: nothing to spoil"))?;
        *certificate = der.into();
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, pem::encode_certs(&chain))?;
        written.push(file);
    }
    Ok(written)
}

/// Changes one thing; nothing where it is not there.
type Spoil<'a> = &'a dyn Fn(&mut [u8]) -> Option<()>;

/// The signature is the last thing in a certificate.
fn other_signature(der: &mut [u8]) -> Option<()> {
    *der.last_mut()? ^= 1;
    Some(())
}

/// The name ends in another letter, under the signature for the right one.
fn other_name(der: &mut [u8], path: &str) -> Option<()> {
    let at = der.windows(path.len()).position(|part| part == path.as_bytes())?;
    *der.get_mut(at + path.len() - 1)? ^= 1;
    Some(())
}
