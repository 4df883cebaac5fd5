//! A page of documentation as steps.
//!
//! Every fenced block names its language. Those in `sh` are pasted whole into one shell that lasts for the page, and each
//! command must succeed; one behind `! ` must fail. Those in `console` hold commands behind `$ `, each followed by
//! what it shows. A line `...` stands for any lines; a command fails exactly when it shows a line that begins
//! with `error`. Other languages are not run.
//!
//! A comment on a line of its own before a block changes that:
//!
//! | comment | the block |
//! |---|---|
//! | `<!-- not run: REASON -->` | is not run |
//! | `<!-- in NAME until TEXT -->` | is pasted into the terminal NAME, where its last command stays; the page goes on when a line with TEXT has come. What ran in that terminal before is ended with Ctrl-C first |
//! | `<!-- varies: time hex -->` | shows points in time, or long hexadecimal numbers, that are others each time |
//! | `<!-- soon -->` | shows what is so soon, but perhaps not at once: each command is repeated until it does |
//! | `<!-- write PATH -->` | is the file PATH, which is written now |
//! | `<!-- page: in the clone -->` | (anywhere) the page's commands run in the project's folder; with `, its DIR empty` that folder of it is empty at first |
//!
//! A comment before a block that says none of this is a mistake, and so is one that says it elsewhere.

use super::compare::Vary;

/// What a reader does, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Its path below the project's folder.
    pub(crate) name: String,
    /// Where its commands run.
    pub(crate) place: Place,
    pub(crate) steps: Vec<Step>,
}

/// Where a page's commands run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a folder of its own, empty.
    Empty,
    /// In the project's folder, of which one may be empty.
    Clone { empty: Option<String> },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// Where it begins.
    pub(crate) line: usize,
    pub(crate) action: Action,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Commands that end.
    Paste { commands: String },
    /// A command and what it shows.
    Show {
        command: String,
        shown: Vec<String>,
        varies: Vec<Vary>,
        /// Whether it may show something else for a moment.
        is_soon: bool,
    },
    /// Commands the last of which stays, until a line with `until` has come.
    Leave {
        terminal: String,
        commands: String,
        until: String,
    },
    /// A file.
    Write { path: String, text: String },
    /// Commands that are not run.
    Skip { reason: String },
}

/// Languages that are for reading only.
const READ_ONLY: &[&str] = &["toml", "yaml", "json", "python", "rust", "hcl", "http", "text"];

/// What a comment before a block says of it.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    NotRun(String),
    In { terminal: String, until: String },
    Varies(Vec<Vary>),
    Soon,
    Write(String),
}

impl Mark {
    /// The mark that `comment`, the inside of `<!-- -->`, is; none if it is something else.
    fn parse(comment: &str) -> Result<Option<Self>, String> {
        let word = comment.split([' ', ':']).next().unwrap_or_default();
        let after = |head: &str| {
            comment
                .strip_prefix(head)
                .map(str::trim)
                .filter(|rest| !rest.is_empty())
        };
        let form = |form: &str| format!("write <!-- {form} -->");
        match word {
            "not" => after("not run:")
                .map(|reason| Some(Self::NotRun(reason.to_owned())))
                .ok_or_else(|| form("not run: REASON")),
            "in" => after("in ")
                .and_then(|rest| rest.split_once(" until "))
                .map(|(terminal, until)| {
                    Some(Self::In {
                        terminal: terminal.trim().to_owned(),
                        until: until.trim().to_owned(),
                    })
                })
                .ok_or_else(|| form("in TERMINAL until TEXT")),
            "varies" => after("varies:")
                .and_then(|rest| rest.split(' ').map(Vary::parse).collect())
                .map(|kinds| Some(Self::Varies(kinds)))
                .ok_or_else(|| form("varies: time hex")),
            "soon" if comment == "soon" => Ok(Some(Self::Soon)),
            "soon" => Err(form("soon")),
            "write" => after("write ")
                .map(|path| Some(Self::Write(path.to_owned())))
                .ok_or_else(|| form("write PATH")),
            _ => Ok(None),
        }
    }
}

/// A fenced block.
struct Block<'t> {
    language: &'t str,
    /// Of its first line.
    line: usize,
    lines: Vec<&'t str>,
}

impl Page {
    /// Reads `text`.
    ///
    /// # Errors
    /// All mistakes, each with its place.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Vec<String>> {
        let mut reader = Reader::default();
        let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        while let Some((number, line)) = lines.next() {
            let Some((indent, ticks, language)) = fence(line) else {
                reader.line(number, line);
                continue;
            };
            let mut block = Block {
                language,
                line: number + 1,
                lines: Vec::new(),
            };
            let mut is_closed = false;
            for (_, line) in lines.by_ref() {
                if fence(line).is_some_and(|(_, end, rest)| end >= ticks && rest.is_empty()) {
                    is_closed = true;
                    break;
                }
                let inner = line.get(indent..).filter(|_| line.is_char_boundary(indent));
                block.lines.push(inner.unwrap_or_else(|| line.trim_start()));
            }
            if !is_closed {
                reader.mistake(number, "this block does not end");
            }
            reader.block(&block);
        }
        reader.stray_marks();
        if reader.mistakes.is_empty() {
            Ok(Self {
                name: name.to_owned(),
                place: reader.place.unwrap_or(Place::Empty),
                steps: reader.steps,
            })
        } else {
            let told = reader.mistakes.into_iter();
            Err(told
                .map(|(line, what)| format!("{name}:{line}: {what}"))
                .collect())
        }
    }

    /// Whether anything in it is run.
    pub(crate) fn is_run(&self) -> bool {
        let is_run = |step: &Step| !matches!(step.action, Action::Skip { .. } | Action::Write { .. });
        self.steps.iter().any(is_run)
    }
}

#[derive(Default)]
struct Reader {
    steps: Vec<Step>,
    mistakes: Vec<(usize, String)>,
    place: Option<Place>,
    /// Comments that stand before what comes next.
    comments: Vec<(usize, String)>,
    /// Whether the line before was empty, in a text and not in a list.
    is_after_gap: bool,
    is_in_list: bool,
}

impl Reader {
    fn mistake(&mut self, line: usize, what: impl Into<String>) {
        self.mistakes.push((line, what.into()));
    }

    fn line(&mut self, number: usize, line: &str) {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            self.is_after_gap = true;
            return;
        }
        if let Some(comment) = trimmed
            .strip_prefix("<!--")
            .and_then(|rest| rest.strip_suffix("-->"))
        {
            self.comments.push((number, comment.trim().to_owned()));
            return;
        }
        self.stray_marks();
        let is_item = trimmed.starts_with(['-', '*']) || trimmed.starts_with(|c: char| c.is_ascii_digit());
        self.is_in_list = is_item || self.is_in_list && line.starts_with(' ');
        if self.is_after_gap && !self.is_in_list && (line.starts_with("    ") || line.starts_with('\t')) {
            self.mistake(number, "a block by indentation: fence it and name its language");
        }
        self.is_after_gap = false;
    }

    /// The comments so far stand before text: none of them may be meant for a block.
    fn stray_marks(&mut self) {
        for (line, comment) in core::mem::take(&mut self.comments) {
            if let Some(place) = comment.strip_prefix("page:") {
                match parse_place(place.trim()) {
                    Some(place) if self.place.is_none() => self.place = Some(place),
                    _ => self.mistake(line, "write, once, <!-- page: in the clone -->"),
                }
            } else if !matches!(Mark::parse(&comment), Ok(None)) {
                self.mistake(line, format!("`{comment}` stands before no block"));
            }
        }
    }

    fn block(&mut self, block: &Block<'_>) {
        self.is_after_gap = false;
        let mut marks = Vec::new();
        for (line, comment) in core::mem::take(&mut self.comments) {
            match Mark::parse(&comment) {
                Ok(Some(mark)) => marks.push(mark),
                Ok(None) => self.mistake(line, format!("`{comment}` says nothing about the block below it")),
                Err(form) => self.mistake(line, form),
            }
        }
        match steps(block, &marks) {
            Ok(steps) => self.steps.extend(steps),
            Err(what) => self.mistake(block.line - 1, what),
        }
    }
}

fn parse_place(text: &str) -> Option<Place> {
    let rest = text.strip_prefix("in the clone")?;
    if rest.is_empty() {
        return Some(Place::Clone { empty: None });
    }
    let dir = rest.strip_prefix(", its ")?.strip_suffix(" empty")?;
    Some(Place::Clone {
        empty: Some(dir.to_owned()),
    })
}

/// Indentation, length and language of a fence.
fn fence(line: &str) -> Option<(usize, usize, &str)> {
    let rest = line.trim_start();
    let ticks = rest.bytes().take_while(|b| *b == b'`').count();
    let tildes = rest.bytes().take_while(|b| *b == b'~').count();
    let length = ticks.max(tildes);
    let after = rest.get(length..)?.trim();
    (length >= 3 && !after.contains('`')).then_some((line.len() - rest.len(), length, after))
}

/// What a reader does with `block`.
fn steps(block: &Block<'_>, marks: &[Mark]) -> Result<Vec<Step>, String> {
    let is_shell = block.language == "sh" || block.language == "console";
    if !is_shell && !READ_ONLY.contains(&block.language) {
        return Err(format!(
            "the language `{}`: commands are in `sh` or `console`, and of others there are {}",
            block.language,
            READ_ONLY.join(", ")
        ));
    }
    let text: String = block.lines.iter().flat_map(|line| [*line, "\n"]).collect();
    let one = |action| {
        Ok(vec![Step {
            line: block.line,
            action,
        }])
    };
    match (block.language, marks) {
        ("sh" | "console", [Mark::NotRun(reason)]) => one(Action::Skip {
            reason: reason.clone(),
        }),
        ("sh", []) => one(Action::Paste { commands: text }),
        ("sh", [Mark::In { terminal, until }]) => one(Action::Leave {
            terminal: terminal.clone(),
            until: until.clone(),
            commands: text,
        }),
        ("console", []) => console(block, &[], false),
        ("console", [Mark::Soon]) => console(block, &[], true),
        ("console", [Mark::Varies(varies)]) => console(block, varies, false),
        ("console", [Mark::Soon, Mark::Varies(varies)]) => console(block, varies, true),
        (_, []) => Ok(Vec::new()),
        (_, [Mark::Write(path)]) if !is_shell => one(Action::Write {
            path: path.clone(),
            text,
        }),
        (language, _) => Err(format!(
            "these comments are not for a block in `{language}`, or not together"
        )),
    }
}

/// The commands of a block in `console`, each with what it shows.
fn console(block: &Block<'_>, varies: &[Vary], is_soon: bool) -> Result<Vec<Step>, String> {
    let mut found: Vec<Step> = Vec::new();
    let mut is_continued = false;
    for (at, line) in block.lines.iter().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Step {
                line: block.line + at,
                action: Action::Show {
                    command: command.to_owned(),
                    shown: Vec::new(),
                    varies: varies.to_vec(),
                    is_soon,
                },
            });
            is_continued = command.ends_with('\\');
            continue;
        }
        let Some(Step {
            action: Action::Show { command, shown, .. },
            ..
        }) = found.last_mut()
        else {
            return Err("it begins with a command, `$ COMMAND`".to_owned());
        };
        if is_continued {
            command.push('\n');
            command.push_str(line);
            is_continued = line.ends_with('\\');
        } else {
            shown.push(line.trim_end().to_owned());
        }
    }
    // A kind that nothing in the block is of would hide a change of what is shown.
    for kind in varies {
        let has = |step: &Step| match &step.action {
            Action::Show { shown, .. } => shown.iter().any(|line| kind.is_in(line)),
            _ => false,
        };
        if !found.iter().any(has) {
            return Err(format!("nothing in it varies by `{}`", kind.name()));
        }
    }
    if found.is_empty() {
        return Err("it has no command".to_owned());
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
