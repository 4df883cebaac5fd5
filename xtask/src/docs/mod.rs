//! Pastes the commands of README.md and of every page below `docs` into shells, as a reader would.
//!
//! Each page has a machine of its own, as far as that goes ([`private`]): no state, no network but its own loopback, and
//! processes that end with it. [`page`] says how a page is read and what its comments mean; [`shell`] is what the commands
//! are pasted into, and [`compare`] tells whether what came out is what the page shows.

mod compare;
mod page;
mod private;
mod shell;

use crate::{Failure, files, run};
use compare::Vary;
use core::time::Duration;
use page::{Action, Page, Step};
pub(crate) use private::INSIDE;
use private::Machine;
use shell::{Seen, Shell, Terminal};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Instant;

/// Runs every page to the end; fails if one of them did.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let pages = pages(root)?;
    // Built before, so that what is waited for below is the program and not the compiler; with the words of the README,
    // for which cargo chooses other features than for the package alone.
    run::shown(
        run::cargo()
            .current_dir(root)
            .args(["run", "--locked", "--", "--version"]),
    )?;
    private::can_be_made()?;
    let mut failed = Vec::new();
    for page in &pages {
        for step in &page.steps {
            if let Action::Skip { reason } = &step.action {
                println!("{}:{}: not run: {reason}", page.name, step.line);
            }
        }
        if !page.is_run() {
            continue;
        }
        println!("-- {}", page.name);
        if let Err(error) = private::run_page(root, &page.name) {
            eprintln!("{}: {error}", page.name);
            failed.push(page.name.as_str());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")).into())
    }
}

/// README.md and every page below `docs`, read; the mistakes of all of them at once.
fn pages(root: &Path) -> Result<Vec<Page>, Failure> {
    let mut paths: Vec<PathBuf> = vec![root.join("README.md")];
    paths.extend(files(&root.join("docs"), ".md")?);
    let (mut pages, mut mistakes) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
        match Page::parse(&name, &std::fs::read_to_string(&path)?) {
            Ok(page) => pages.push(page),
            Err(found) => mistakes.extend(found),
        }
    }
    if mistakes.is_empty() {
        Ok(pages)
    } else {
        Err(mistakes.join("\n").into())
    }
}

/// The inside of [`private::run_page`]: the first process of a page's machine, with which all others end.
pub(crate) fn inside(root: &Path, name: &str, scratch: &Path) -> Result<(), Failure> {
    private::refuse_outside()?;
    let (send, ended) = channel();
    // Ends when whoever started this is gone: signals of the terminal do not reach the first process.
    let gone = send.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        gone.send(Err("whoever started this is gone".to_owned()))
    });
    let (root, name, scratch) = (root.to_path_buf(), name.to_owned(), scratch.to_path_buf());
    std::thread::spawn(move || send.send(run_page(&root, &name, &scratch).map_err(|e| e.to_string())));
    Ok(ended.recv()??)
}

fn run_page(root: &Path, name: &str, scratch: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(root.join(name))?;
    let page = Page::parse(name, &text).map_err(|mistakes| mistakes.join("\n"))?;
    let machine = Machine::set_up(root, &page, scratch)?;
    let mut open = Open {
        shell: Shell::start(&machine)?,
        left: Vec::new(),
        machine,
    };
    for step in &page.steps {
        open.take(step)
            .map_err(|e| format!("{name}:{}: {e}", step.line))?;
    }
    // Each ends as with Ctrl-C, those that were started last first.
    while let Some(terminal) = open.left.pop() {
        terminal.end()?;
    }
    Ok(())
}

/// What is open on the reader's screen.
struct Open {
    machine: Machine,
    shell: Shell,
    /// Terminals in which something runs on.
    left: Vec<Terminal>,
}

impl Open {
    fn take(&mut self, step: &Step) -> Result<(), Failure> {
        match &step.action {
            Action::Skip { .. } => Ok(()),
            Action::Write { path, text } => {
                println!("(writes {path})");
                let path = self.machine.work.join(path);
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                Ok(std::fs::write(path, text)?)
            }
            Action::Paste { commands } => {
                echo(commands);
                self.shell.paste(commands, step.line)
            }
            Action::Show {
                command,
                shown,
                varies,
                is_soon,
            } => {
                echo(command);
                let deadline = Instant::now() + SOON;
                loop {
                    let outcome = judge(command, shown, varies, &self.shell.show(command)?);
                    // Each try starts a program and waits for it, which is pause enough.
                    if outcome.is_ok() || !is_soon || Instant::now() >= deadline {
                        return outcome;
                    }
                }
            }
            Action::Leave {
                terminal,
                commands,
                until,
            } => {
                if let Some(at) = self.left.iter().position(|open| open.name() == terminal) {
                    self.left.remove(at).end()?;
                }
                echo(commands);
                self.left
                    .push(Terminal::start(&self.machine, terminal, commands, until)?);
                Ok(())
            }
        }
    }
}

/// Holds what came of `command` against what the page shows.
fn judge(command: &str, shown: &[String], varies: &[Vary], seen: &Seen) -> Result<(), Failure> {
    let should_fail = compare::is_refusal(shown);
    if should_fail == (seen.status == 0) {
        let word = if should_fail { "is shown to fail" } else { "failed" };
        return Err(format!("`{command}` {word}, and ended with status {}", seen.status).into());
    }
    compare::check(shown, &seen.text, varies)
}

/// How long what is so soon may take.
const SOON: Duration = Duration::from_secs(10);

fn echo(commands: &str) {
    for line in commands.lines() {
        println!("$ {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::{Seen, judge};

    #[test]
    fn a_command_shows_what_the_page_shows_or_fails_the_page() {
        let seen = |status, text: &str| Seen {
            status,
            text: text.to_owned(),
        };
        let is_good = |shown: &str, seen: &Seen| judge("c", &[shown.to_owned()], &[], seen).is_ok();
        assert!(is_good("a", &seen(0, "a\n")));
        assert!(!is_good("a", &seen(0, "b\n")) && !is_good("a", &seen(1, "a\n")));
        assert!(is_good("error[X]: a", &seen(1, "error[X]: a\n")));
        assert!(!is_good("error[X]: a", &seen(0, "error[X]: a\n")));
        assert!(!is_good("error[X]: a", &seen(1, "error[X]: b\n")));
    }

    #[test]
    fn every_page_is_understood() {
        let pages = super::pages(&crate::root()).unwrap();
        let steps = |name: &str| pages.iter().find(|page| page.name == name).unwrap().steps.len();
        assert!(steps("README.md") > 5 && steps("docs/server-and-agent.md") > 5);
    }
}
