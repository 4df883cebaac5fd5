use crate::input::Params;
use crate::refusal::Refusal;
use signet_api::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};

/// How many items of a list are wanted.
pub(crate) fn limit(query: &Params) -> Result<usize, Refusal> {
    let parse = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<usize>()
            .ok()
            .filter(|limit| digits && (1..=LIST_LIMIT_MAX).contains(limit))
            .ok_or_else(|| format!("it is not a number from 1 to {LIST_LIMIT_MAX}"))
    };
    Ok(query.parsed("limit", parse)?.unwrap_or(LIST_LIMIT_DEFAULT))
}

/// What a malformed cursor is told.
pub(crate) const CURSOR_FORM: &str = "it is not the `next_cursor` of an earlier page";
