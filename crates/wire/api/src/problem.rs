use crate::EntryFault;
use serde::{Deserialize, Serialize};
use signet_fault::Coded;

/// The media type of a problem document (RFC 9457 §3).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request failed (RFC 9457), with our stable code and the request's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI that names the kind of problem: `urn:signet:error:CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here.
    pub detail: String,
    /// The path that was asked.
    #[serde(default)]
    pub instance: String,
    /// The stable code.
    pub code: String,
    /// The next step; empty if there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remedy: String,
    /// The request's id, as in `x-request-id` and in the server's log.
    #[serde(default)]
    pub request_id: String,
    /// The faults one by one, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemItem>,
}

/// One of several faults in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemItem {
    /// Its stable code, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Where and what.
    #[serde(flatten)]
    pub fault: EntryFault,
}

impl Problem {
    /// The problem that `error` is, answered with `status`. The caller fills in `instance` and `request_id`.
    #[must_use]
    pub fn of(status: u16, title: &str, error: &dyn Coded) -> Self {
        let mut problem = Self::new(status, error.code(), title, error.to_string());
        problem.remedy = error.remedy().into_owned();
        problem
    }

    /// A problem from its parts.
    #[must_use]
    pub fn new(status: u16, code: &str, title: &str, detail: String) -> Self {
        Self {
            kind: format!("urn:signet:error:{code}"),
            title: title.to_owned(),
            status,
            detail,
            instance: String::new(),
            code: code.to_owned(),
            remedy: String::new(),
            request_id: String::new(),
            errors: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_ours() {
        let mut problem = Problem::of(
            400,
            "not a join string",
            &crate::ApiError::JoinTruncated { bytes: 3 },
        );
        problem.instance = "/api/v1/x".into();
        problem.request_id = "r1".into();
        problem.errors.push(ProblemItem {
            code: None,
            fault: EntryFault {
                line: 4,
                column: Some(2),
                field: Some("hint".into()),
                same_as: None,
                message: "too long".into(),
            },
        });
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "urn:signet:error:SGAP003", "title": "not a join string", "status": 400,
                "detail": "join string is cut off after 3 bytes", "instance": "/api/v1/x", "code": "SGAP003",
                "remedy": "copy it again, whole and on one line", "request_id": "r1",
                "errors": [{"line": 4, "column": 2, "field": "hint", "message": "too long"}]
            })
        );
        assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
    }
}
