//! Settings files: every mistake has its place in the text.

use crate::laws::text;
use signet_agent::AgentSettings;
use signet_server::Config;
use signet_settings::SettingsError;
use std::path::Path;

pub(crate) fn server(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = Config::parse(text, Path::new("server.toml")) {
        has_places(text, &error);
    }
}

pub(crate) fn agent(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Err(error) = signet_settings::parse::<AgentSettings>(text, "agent.toml") {
        has_places(text, &error);
    }
}

fn has_places(text: &str, error: &SettingsError) {
    let lines = text.split('\n').count();
    let mistakes = error.mistakes();
    let is_long = text.len() as u64 > signet_settings::FILE_BYTES_MAX;
    assert!(is_long || (1..=signet_settings::MISTAKES_MAX).contains(&mistakes.len()));
    for mistake in mistakes {
        assert!(
            (1..=lines).contains(&mistake.line),
            "{mistake:?} in {lines} lines"
        );
    }
    assert!(
        !error.to_string().contains('\u{1b}'),
        "an escape sequence in {error}"
    );
}
