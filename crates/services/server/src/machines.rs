//! The machines that may join by their certificates.

use crate::ServerError;
use crate::config::Machines;
use signet_check::machine::MachineTrust;
use signet_surface_agents::X509Pop;
use signet_x509::{Der, pem};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The longest file of authorities, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the authorities that `machines` names; nothing where it names none.
///
/// # Errors
/// [`ServerError::MachinesFile`]; what the certificates lack to be authorities.
pub(crate) async fn x509pop(machines: Option<Machines>) -> Result<Option<X509Pop>, ServerError> {
    let Some(machines) = machines else {
        return Ok(None);
    };
    tokio::task::spawn_blocking(move || read(machines).map(Some))
        .await
        .unwrap_or(Err(ServerError::Task { task: "x509pop" }))
}

fn read(machines: Machines) -> Result<X509Pop, ServerError> {
    let mut authorities = Vec::new();
    for path in &machines.ca {
        authorities.extend(certificates(path)?);
    }
    let trust = MachineTrust::new(&authorities)
        .map_err(ServerError::part("read the authorities of attest.x509pop.ca"))?;
    Ok(X509Pop::new(trust, machines.path))
}

fn certificates(path: &Path) -> Result<Vec<Der>, ServerError> {
    let unreadable = |source| ServerError::MachinesFile {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text));
    if read.map_err(unreadable)? as u64 > FILE_BYTES_MAX {
        return Err(unreadable(io::Error::other("it is longer than 1 MiB")));
    }
    pem::parse_certs(&text).map_err(ServerError::part("read the authorities of attest.x509pop.ca"))
}
