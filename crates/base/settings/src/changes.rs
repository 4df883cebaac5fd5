/// What came of giving new settings to a process that runs: which keys it took over, and which wait.
///
/// The settings that run are brought up to date with [`Changes::take`] and [`Changes::keep`], one call for each key.
/// A key that waits keeps the value that runs, so that it is named again each time until the process is started anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    taken: Vec<Taken>,
    waiting: Vec<&'static str>,
}

/// A key whose new value holds from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its dotted path in the file.
    pub key: &'static str,
    /// The value before, for people to read.
    pub old: String,
    /// The value from now on.
    pub new: String,
}

impl Changes {
    /// Puts `new` in place of what runs. Both are kept as `show` writes them and may be logged: never for a secret.
    pub fn take<T: PartialEq>(
        &mut self,
        key: &'static str,
        running: &mut T,
        new: T,
        show: impl Fn(&T) -> String,
    ) {
        if *running != new {
            let (old, shown) = (show(running), show(&new));
            self.taken.push(Taken { key, old, new: shown });
            *running = new;
        }
    }

    /// Leaves what runs as it is, and notes that a new value waits for the next start.
    pub fn keep<T: PartialEq>(&mut self, key: &'static str, running: &T, new: &T) {
        if running != new {
            self.waiting.push(key);
        }
    }

    /// The keys that were taken over.
    #[must_use]
    pub fn taken(&self) -> &[Taken] {
        &self.taken
    }

    /// The keys whose new value takes effect at the next start.
    #[must_use]
    pub fn waiting(&self) -> &[&'static str] {
        &self.waiting
    }

    /// Whether the file says what runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.waiting.is_empty()
    }
}

/// A list as it stands in a settings file: `["a", "b"]`.
pub fn shown_list(values: impl IntoIterator<Item = impl core::fmt::Display>) -> String {
    let quoted: Vec<_> = values
        .into_iter()
        .map(|v| format!("{:?}", v.to_string()))
        .collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_runs_and_what_waits_does_not() {
        let (mut servers, port) = (vec!["a:1".to_owned()], 8445);
        let mut changes = Changes::default();
        let wanted = vec!["b:1".to_owned(), "c:1".to_owned()];
        changes.take("servers", &mut servers, wanted.clone(), |list| shown_list(list));
        changes.keep("port", &port, &9445);
        assert_eq!((&servers, port), (&wanted, 8445));
        let taken = Taken {
            key: "servers",
            old: "[\"a:1\"]".to_owned(),
            new: "[\"b:1\", \"c:1\"]".to_owned(),
        };
        assert_eq!(changes.taken(), [taken]);
        assert_eq!(changes.waiting(), ["port"]);
        // The same file once more: what was taken over is no news, what waits still does.
        let mut again = Changes::default();
        again.take("servers", &mut servers, wanted, |list| shown_list(list));
        again.keep("port", &port, &9445);
        assert_eq!(again.taken(), []);
        assert_eq!(again.waiting(), ["port"]);
    }

    #[test]
    fn the_same_settings_change_nothing() {
        let mut changes = Changes::default();
        changes.take("a", &mut 1, 1, i32::to_string);
        changes.keep("b", &2, &2);
        assert!(changes.is_empty());
    }
}
