use crate::input::Params;
use crate::refusal::Refusal;
use signet_api::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX};
use signet_registry::EntryId;

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

/// How many entries are looked at under one lock: writers wait no longer than that.
pub(crate) const SCAN_STEP: usize = 4_096;

/// A page of at most `limit` things after `after`, and where the next one begins if there is one. `step` looks for some
/// more of them, so many at most, and says where it stopped; `id_of` is what a page ends with.
pub(crate) async fn gather<T>(
    limit: usize,
    mut after: Option<EntryId>,
    mut step: impl FnMut(Option<EntryId>, usize) -> (Vec<T>, Option<EntryId>),
    id_of: impl Fn(&T) -> EntryId,
) -> (Vec<T>, Option<EntryId>) {
    let mut found = Vec::new();
    // One more than asked for tells whether there is a next page.
    while found.len() <= limit {
        let (more, last) = step(after, limit + 1 - found.len());
        found.extend(more);
        if last.is_none() {
            break;
        }
        after = last;
        tokio::task::yield_now().await;
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(id_of);
    (found, next)
}

/// What a malformed cursor is told.
pub(crate) const CURSOR_FORM: &str = "it is not the `next_cursor` of an earlier page";
