use crate::AdminError;
use crate::answer::Call;
use signet_api::{LIST_LIMIT_DEFAULT, LIST_LIMIT_MAX, Page};

/// How much of a list is asked for, from where on.
pub(crate) struct Window<C> {
    pub(crate) limit: usize,
    pub(crate) after: Option<C>,
}

/// Reads `limit` and `cursor`, and hands every other parameter to `filter`, which says whether it knows the name.
pub(crate) fn window<C>(
    call: &Call,
    cursor: impl Fn(&str) -> Option<C>,
    mut filter: impl FnMut(&str, &str) -> Result<bool, AdminError>,
) -> Result<Window<C>, AdminError> {
    let refuse = |name: &str, what: String| AdminError::Parameter {
        name: name.chars().take(64).collect(),
        what,
    };
    let mut window = Window {
        limit: LIST_LIMIT_DEFAULT,
        after: None,
    };
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &call.query {
        if seen.contains(&name.as_str()) {
            return Err(refuse(name, "stands twice".to_owned()));
        }
        seen.push(name);
        match name.as_str() {
            "limit" => {
                let limit = value.parse().ok().filter(|n| (1..=LIST_LIMIT_MAX).contains(n));
                window.limit = limit
                    .ok_or_else(|| refuse(name, format!("is a whole number from 1 to {LIST_LIMIT_MAX}")))?;
            }
            "cursor" => {
                let after = cursor(value);
                window.after = Some(
                    after
                        .ok_or_else(|| refuse(name, "is not the `next_cursor` of an earlier page".into()))?,
                );
            }
            _ if filter(name, value)? => {}
            _ => return Err(refuse(name, "is not known here".to_owned())),
        }
    }
    Ok(window)
}

impl<C> Window<C> {
    /// One page out of `items`, which begin behind the cursor. `name` is what the next page's cursor is made of.
    pub(crate) fn page<T, V>(
        &self,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> String,
        view: impl Fn(&T) -> V,
    ) -> Page<V> {
        // One more than fits says whether there is a next page.
        let mut items: Vec<T> = items.take(self.limit + 1).collect();
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        Page {
            next_cursor: items.last().filter(|_| more).map(name),
            items: items.iter().map(view).collect(),
        }
    }
}
