//! Asks a process whether it is ready.

use bytes::Bytes;
use core::time::Duration;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;

/// What came of asking one address.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Health {
    /// Whom: `http://HOST:PORT`.
    pub(crate) url: String,
    /// How it is.
    pub(crate) status: Status,
    /// What it said about it; empty where that is nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It serves.
    Ready,
    /// It runs and does not serve now.
    NotReady,
    /// Nothing answers.
    Absent,
}

/// From connecting to the whole answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Asks `/health/ready` at `url`, which is `http://HOST:PORT`.
pub(crate) async fn ask(url: &str) -> Health {
    let (status, detail) = match tokio::time::timeout(TIMEOUT, exchange(url)).await {
        Ok(Ok((StatusCode::OK, _))) => (Status::Ready, String::new()),
        Ok(Ok((status, body))) => (Status::NotReady, said(status, &body)),
        Ok(Err(Trouble::Absent(why))) => (Status::Absent, why),
        Ok(Err(Trouble::Broke(why))) => (Status::NotReady, why),
        Err(_) => (
            Status::NotReady,
            format!("no answer within {} s", TIMEOUT.as_secs()),
        ),
    };
    Health {
        url: url.to_owned(),
        status,
        detail,
    }
}

enum Trouble {
    /// No connection.
    Absent(String),
    /// A connection, but no answer over it.
    Broke(String),
}

async fn exchange(url: &str) -> Result<(StatusCode, Bytes), Trouble> {
    let broke = |why: &dyn core::fmt::Display| Trouble::Broke(why.to_string());
    let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    let stream = TcpStream::connect(authority)
        .await
        .map_err(|e| Trouble::Absent(e.to_string()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broke(&e))?;
    let request = Request::get("/health/ready")
        .header(header::HOST, authority)
        .body(Empty::<Bytes>::new())
        .map_err(|e| broke(&e))?;
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|e| broke(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await
            .map_err(|e| broke(&e))?;
        Ok((status, body.to_bytes()))
    };
    let driven = async {
        // What goes wrong with the connection is what the request reports.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        outcome = talk => outcome,
        () = driven => Err(Trouble::Broke("the connection ended".to_owned())),
    }
}

/// One line out of an answer that is not "ready".
fn said(status: StatusCode, body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let reasons = json
        .as_ref()
        .and_then(|v| v.get("reasons"))
        .and_then(|v| v.as_array());
    let reasons: Vec<&str> = reasons
        .into_iter()
        .flatten()
        .filter_map(|reason| reason.as_str())
        .collect();
    let word = json
        .as_ref()
        .and_then(|v| v.get("status"))
        .and_then(|v| v.as_str());
    match (word, reasons.is_empty()) {
        (_, false) => reasons.join("; "),
        (Some(word), true) => word.to_owned(),
        (None, true) => format!("status {status}"),
    }
}
