use crate::{MISTAKES_MAX, Mistake, Problem, SettingsError};
use core::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The mistakes found so far in one file.
pub struct Report<'t> {
    text: &'t str,
    tree: &'t Spanned<DeTable<'t>>,
    mistakes: Vec<Mistake>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(text: &'t str, tree: &'t Spanned<DeTable<'t>>) -> Self {
        Self {
            text,
            tree,
            mistakes: Vec::new(),
        }
    }

    /// Adds a mistake at `key`, a dotted path such as `listen.agents`, or at the nearest table above it that stands
    /// in the file.
    pub fn at(&mut self, key: &str, message: impl Into<String>) {
        let span = self.span_of(key);
        self.add(key.to_owned(), span, Problem::Rule(message.into()));
    }

    pub(crate) fn syntax(&mut self, fault: &toml::de::Error) {
        let text = fault.message().trim().replace('\n', ", ");
        self.add(String::new(), fault.span().unwrap_or(0..0), Problem::Syntax(text));
    }

    pub(crate) fn add(&mut self, key: String, span: Range<usize>, problem: Problem) {
        if self.is_full() {
            return;
        }
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let mistake = Mistake {
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            key,
            problem,
        };
        if !self.mistakes.contains(&mistake) {
            self.mistakes.push(mistake);
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.mistakes.len() >= MISTAKES_MAX
    }

    pub(crate) fn into_error(mut self, path: &Path) -> SettingsError {
        self.mistakes.sort_by_key(|m| (m.line, m.column));
        SettingsError::Mistakes {
            path: path.into(),
            mistakes: self.mistakes,
        }
    }

    fn span_of(&self, key: &str) -> Range<usize> {
        let mut table = self.tree.get_ref();
        // A table without a header of its own begins where the file does.
        let mut span = 0..0;
        for part in key.split('.') {
            let Some((name, value)) = table.iter().find(|(name, _)| name.get_ref().as_ref() == part) else {
                break;
            };
            span = name.span();
            match value.get_ref() {
                DeValue::Table(inner) => table = inner,
                _ => break,
            }
        }
        span
    }
}
