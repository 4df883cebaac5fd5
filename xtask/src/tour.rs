//! Pastes the README's tour into a shell.
//!
//! The fenced block behind `<!-- tour: start -->` is what the reader leaves running in a first terminal; those behind
//! `<!-- tour -->` are pasted into a second one, in order, and each command must succeed.

use crate::{Failure, run};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The line with which `signet dev` says that it can be used.
const READY: &str = "ready in ";

/// Runs the tour of README.md.
pub(crate) fn run(root: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(root.join("README.md"))?;
    let start = blocks(&text, "<!-- tour: start -->").concat();
    let steps = blocks(&text, "<!-- tour -->").concat();
    if start.is_empty() || steps.is_empty() {
        return Err("README.md has no tour".into());
    }
    // Built before, so that the wait below is for the program and not for the compiler.
    run::shown(
        run::cargo()
            .current_dir(root)
            .args(["build", "--locked", "-p", "signet"]),
    )?;
    let mut first = shell(root, &format!("set -eu\nexec {}", start.trim()));
    let mut running = Running(first.stdout(Stdio::piped()).spawn()?);
    let stdout = running.0.stdout.take().ok_or("no pipe")?;
    let mut lines = BufReader::new(stdout).lines();
    loop {
        let line = lines
            .next()
            .ok_or("the first terminal's command ended before it was ready")??;
        println!("1> {line}");
        if line.contains(READY) {
            break;
        }
    }
    // Read on, or a full pipe would stop the program.
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| println!("1> {line}")));
    run::shown(&mut shell(
        root,
        &format!("set -euxo pipefail\n{}", refusals_checked(&steps)),
    ))?;
    let status = running.end()?;
    let _ = rest.join();
    if status.success() {
        Ok(())
    } else {
        Err(format!("the first terminal's command ended with {status}").into())
    }
}

fn shell(root: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .current_dir(root)
        .args(["-c", script])
        .stdin(Stdio::null());
    command
}

/// A shell goes on after `! command` whether it failed or not; here it must fail.
fn refusals_checked(steps: &str) -> String {
    let line = |line: &str| match line.strip_prefix("! ") {
        Some(command) => format!("if {command}; then echo 'this should have been refused'; exit 1; fi\n"),
        None => format!("{line}\n"),
    };
    steps.lines().map(line).collect()
}

/// The fenced blocks that follow a line `mark`, without their fences.
fn blocks(text: &str, mark: &str) -> Vec<String> {
    text.split(&format!("{mark}\n"))
        .skip(1)
        .filter_map(|rest| {
            let (_, rest) = rest.trim_start().strip_prefix("```")?.split_once('\n')?;
            Some(rest.split("```").next()?.to_owned())
        })
        .collect()
}

/// A child that ends with the value.
struct Running(Child);

impl Running {
    /// Asks it to end and waits for it.
    fn end(&mut self) -> Result<std::process::ExitStatus, Failure> {
        // The shell's own `kill`: a small system has no program of that name.
        run::shown(Command::new("bash").args(["-c", &format!("kill -TERM {}", self.0.id())]))?;
        Ok(self.0.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::{blocks, refusals_checked};

    #[test]
    fn a_command_that_should_fail_must() {
        assert_eq!(
            refusals_checked("a\n! b c\n"),
            "a\nif b c; then echo 'this should have been refused'; exit 1; fi\n"
        );
    }

    #[test]
    fn blocks_are_found_behind_their_marks() {
        let text =
            "a\n<!-- tour -->\n```sh\none\n```\n\n```sh\nnot this\n```\n<!-- tour -->\n\n```sh\ntwo\n```\n";
        assert_eq!(blocks(text, "<!-- tour -->"), ["one\n", "two\n"]);
        assert!(blocks(text, "<!-- tour: start -->").is_empty());
    }
}
