use signet_fault::Coded;

/// Why a command did not succeed, as the caller is told: `error[CODE]: what, what to do`.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) what: String,
    /// Several mistakes one by one, such as those of a file's lines.
    pub(crate) items: Vec<String>,
    /// The next step; empty where there is none.
    pub(crate) next: String,
    /// Whether the command line itself was wrong.
    pub(crate) is_usage: bool,
}

impl Failure {
    /// As a mistake of whoever wrote the command line.
    pub(crate) fn usage(mut self) -> Self {
        self.is_usage = true;
        self
    }

    /// With another next step than the register's, for a command that knows better.
    pub(crate) fn next(mut self, step: impl Into<String>) -> Self {
        self.next = step.into();
        self
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: error.code().to_owned(),
            what: signet_fault::chain(&error),
            items: Vec::new(),
            next: error.remedy().into_owned(),
            is_usage: false,
        }
    }
}
