//! The error codes of all crates together, and the page that lists them.

use signet_fault::Entry;
use std::path::Path;

/// The command line's own: a program cannot be linked against, so its file is read in here.
#[path = "../../src/register.rs"]
mod cli;

const REGISTERS: &[&[Entry]] = &[
    cli::REGISTER,
    signet_agent::REGISTER,
    signet_api::REGISTER,
    signet_authority::REGISTER,
    signet_check::REGISTER,
    signet_crypto::REGISTER,
    signet_decision::REGISTER,
    signet_feed::REGISTER,
    signet_id::REGISTER,
    signet_jose::REGISTER,
    signet_journal_file::REGISTER,
    signet_keys::REGISTER,
    signet_net::REGISTER,
    signet_record::REGISTER,
    signet_registry::REGISTER,
    signet_server::REGISTER,
    signet_settings::REGISTER,
    signet_store::REGISTER,
    signet_store_sqlite::REGISTER,
    signet_surface_admin::REGISTER,
    signet_surface_agents::REGISTER,
    signet_surface_publish::REGISTER,
    signet_sys::REGISTER,
    signet_telemetry::REGISTER,
    signet_tls::REGISTER,
    signet_trust::REGISTER,
    signet_workload::REGISTER,
    signet_x509::REGISTER,
];

#[test]
fn register_codes_are_unique_well_formed_and_say_what_to_do() {
    assert_eq!(signet_fault::flaws(REGISTERS), []);
}

#[test]
fn register_is_published_in_docs_errors() {
    let mut entries: Vec<&Entry> = REGISTERS.iter().flat_map(|register| register.iter()).collect();
    entries.sort_by_key(|entry| entry.code);
    let cell = |text: &str| text.replace('|', "\\|");
    let rows: String = entries
        .iter()
        .map(|entry| {
            format!(
                "| {} | {} | {} |\n",
                entry.code,
                cell(entry.meaning),
                cell(entry.remedy)
            )
        })
        .collect();
    let page = format!(
        "# Error codes\n\nGenerated from the registers in the sources. A code never changes its meaning and is never \
         used again.\n\n| code | meaning | what to do |\n|---|---|---|\n{rows}"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    if std::env::var_os("SIGNET_BLESS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == page,
        "docs/errors.md is not what the registers say; `SIGNET_BLESS=1 cargo test -p signet register` writes it anew"
    );
}
