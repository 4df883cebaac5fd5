use core::fmt;

/// One thing wrong with what a person wrote: where and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field as the API names it, with an index where it is a list: `selectors[2]`.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// The earlier draft of the same list that says the same, counted from 0, where that is what is wrong.
    pub same_as: Option<usize>,
}

impl Problem {
    pub(crate) fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self {
            field: field.into(),
            message: message.to_string(),
            same_as: None,
        }
    }

    /// A draft that says what the draft `first` of the same list says.
    pub(crate) fn twice(first: usize) -> Self {
        Self {
            same_as: Some(first),
            ..Self::new(
                "spiffe_id",
                format_args!("says the same as entry {first} of this call"),
            )
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}
