use core::fmt;

/// One thing wrong with what a person wrote: where and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field as the API names it, with an index where it is a list: `selectors[2]`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
