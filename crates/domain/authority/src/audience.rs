use crate::{IssueError, limits};

/// Audiences that no JWT-SVID may name. A workload picks the audience of its token itself, so whatever guards a
/// resource by access tokens must not be an audience here: the workload would write its own.
pub trait ReservedAudiences: Send + Sync {
    /// Whether `audience` is registered as an OAuth resource.
    fn is_reserved(&self, audience: &str) -> bool;
}

/// No audience is reserved: there are no OAuth resources.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoneReserved;

impl ReservedAudiences for NoneReserved {
    fn is_reserved(&self, _: &str) -> bool {
        false
    }
}

/// The audiences of a token: checked, in their order, each once.
pub(crate) fn admitted(
    asked: Vec<String>,
    allowed: &[String],
    reserved: &dyn ReservedAudiences,
) -> Result<Vec<String>, IssueError> {
    let max = limits::AUDIENCES_MAX;
    if !(1..=max).contains(&asked.len()) {
        let given = asked.len();
        return Err(IssueError::AudienceCount { given, max });
    }
    let mut audiences: Vec<String> = Vec::with_capacity(asked.len());
    for (index, audience) in asked.into_iter().enumerate() {
        if !(1..=limits::AUDIENCE_BYTES_MAX).contains(&audience.len())
            || audience.chars().any(char::is_control)
        {
            return Err(IssueError::AudienceForm { index });
        }
        if reserved.is_reserved(&audience) {
            return Err(IssueError::AudienceReserved { audience });
        }
        if !allowed.is_empty() && !allowed.contains(&audience) {
            return Err(IssueError::AudienceNotAllowed { audience });
        }
        if !audiences.contains(&audience) {
            audiences.push(audience);
        }
    }
    Ok(audiences)
}
