use crate::args::Global;
use crate::error::CliError;
use crate::health::{self, Status};
use crate::{Outcome, output, runtime, style};
use core::time::Duration;
use signet_time::parse_duration;
use std::time::Instant;

/// `signet health`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --url it asks the server (port 8442) and the agent (port 8452) of this machine, and \
                        succeeds when at least one runs and every one that runs is ready."
)]
pub(crate) struct Health {
    /// Ask here, such as http://127.0.0.1:8442; several times for several.
    #[arg(long = "url", value_name = "URL", value_parser = parse_url)]
    urls: Vec<String>,
    /// Keep asking for this long until the answer is good.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    wait: Duration,
}

/// Where server and agent answer when nothing else was configured.
const DEFAULT_URLS: [&str; 2] = ["http://127.0.0.1:8442", "http://127.0.0.1:8452"];

/// Between two questions while waiting: short enough that a start of 0.15 s is not stretched much.
const PAUSE: Duration = Duration::from_millis(20);

fn parse_url(text: &str) -> Result<String, String> {
    let Some(authority) = text.strip_prefix("http://") else {
        return Err("it begins with http://, as in http://127.0.0.1:8442".into());
    };
    signet_settings::HostPort::parse(authority.trim_end_matches('/'))
        .map(|address| format!("http://{address}"))
}

impl Health {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let deadline = Instant::now() + self.wait;
        let found = runtime::client(async {
            loop {
                let found = self.ask_all().await;
                if self.verdict(&found).is_ok() || Instant::now() >= deadline {
                    return Ok(found);
                }
                tokio::time::sleep(PAUSE).await;
            }
        })?;
        self.verdict(&found)?;
        output::result(global.output, &found, |found| {
            let rows: Vec<Vec<String>> = found
                .iter()
                .map(|health| {
                    vec![
                        health.url.clone(),
                        word(health.status).to_owned(),
                        health.detail.clone(),
                    ]
                })
                .collect();
            style::table(&["ADDRESS", "STATUS", "DETAIL"], &rows)
        })
    }

    async fn ask_all(&self) -> Vec<health::Health> {
        let mut found = Vec::new();
        for url in self.asked() {
            found.push(health::ask(url).await);
        }
        found
    }

    fn asked(&self) -> impl Iterator<Item = &str> {
        let defaults = self.urls.is_empty().then_some(DEFAULT_URLS).into_iter().flatten();
        self.urls.iter().map(String::as_str).chain(defaults)
    }

    /// What is named must be ready; of the defaults one may be absent.
    fn verdict(&self, found: &[health::Health]) -> Result<(), CliError> {
        let is_named = !self.urls.is_empty();
        if let Some(bad) = found.iter().find(|health| health.status == Status::NotReady) {
            return Err(CliError::NotReady {
                url: bad.url.clone(),
                why: bad.detail.clone(),
            });
        }
        let absent = |health: &&health::Health| health.status == Status::Absent;
        let is_missing = if is_named {
            found.iter().any(|health| absent(&health))
        } else {
            found.iter().all(|health| absent(&health))
        };
        if is_missing {
            let urls: Vec<String> = found
                .iter()
                .filter(absent)
                .map(|health| format!("`{}`", health.url))
                .collect();
            return Err(CliError::NotRunning {
                urls: urls.join(" or "),
            });
        }
        Ok(())
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ready => "ready",
        Status::NotReady => "not ready",
        Status::Absent => "not running",
    }
}
