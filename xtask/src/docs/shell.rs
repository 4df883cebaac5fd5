//! Shells that commands are pasted into.

use super::private::Machine;
use crate::{Failure, run};
use core::time::Duration;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

/// How long a block may take, or what stays may be silent about being ready. Everything is built by then.
const STEP_MAX: Duration = Duration::from_secs(120);

/// From Ctrl-C to the end: the product promises 10 s.
const END_MAX: Duration = Duration::from_secs(20);

/// Begins the line that a shell writes when it is done with a block.
const DONE: char = '\x1e';

/// What the shell that lasts for a page does first. It tells which command failed, on which line of its block; and that
/// it ends, which something in the background that holds its output would hide.
const PRELUDE: &[u8] = br#"set -uo pipefail
trap 'printf "\n\036%s %s %s\n" "$?" "$LINENO" "$BASH_COMMAND"' ERR
trap 'printf "\n\036end %s\n" "$?"' EXIT
should_have_been_refused() { printf "\n\0360 %s what should be refused\n" "$1"; exit 1; }
"#;

/// The shell that lasts for a page.
pub(crate) struct Shell {
    child: Child,
    stdin: ChildStdin,
    output: Output,
    hidden: PathBuf,
    steps: usize,
}

/// What a command came to.
pub(crate) struct Seen {
    /// Its exit status.
    pub(crate) status: i32,
    /// What it wrote, to both outputs.
    pub(crate) text: String,
}

impl Shell {
    pub(crate) fn start(machine: &Machine) -> Result<Self, Failure> {
        let (read, write) = std::io::pipe()?;
        let mut child = machine
            .bash()
            .stdin(Stdio::piped())
            .stderr(write.try_clone()?)
            .stdout(write)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("no pipe")?;
        stdin.write_all(PRELUDE)?;
        Ok(Self {
            child,
            stdin,
            output: Output::of(read),
            hidden: machine.hidden.clone(),
            steps: 0,
        })
    }

    /// Pastes the block `commands`, which begins at `line` of its page; each must succeed, or fail behind `! `.
    pub(crate) fn paste(&mut self, commands: &str, line: usize) -> Result<(), Failure> {
        let file = self.file(&refusals_checked(commands))?;
        writeln!(
            self.stdin,
            "set -e; . {file} </dev/null; set +e; printf '\\n\\036%s\\n' 0"
        )?;
        let (said, _) = self.done()?;
        match said.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
            ["0"] => Ok(()),
            ["end", status] => Err(format!("it ended the shell, with status {status}").into()),
            [status, at, command] => {
                let line = line + at.parse::<usize>()? - 1;
                Err(format!("line {line}: `{command}` ended with status {status}").into())
            }
            _ => Err(format!("the shell said `{said}`").into()),
        }
    }

    /// Runs one command.
    pub(crate) fn show(&mut self, command: &str) -> Result<Seen, Failure> {
        let file = self.file(command)?;
        writeln!(
            self.stdin,
            "if . {file} </dev/null; then printf '\\n\\036%s\\n' 0; else printf '\\n\\036%s\\n' \"$?\"; fi"
        )?;
        let (said, text) = self.done()?;
        let status = said.parse().map_err(|_| format!("the shell said `{said}`"))?;
        Ok(Seen { status, text })
    }

    /// Writes `commands` where the shell can read them, so that they cannot swallow what follows.
    fn file(&mut self, commands: &str) -> Result<String, Failure> {
        self.steps += 1;
        let path = self.hidden.join(format!("step-{}", self.steps));
        std::fs::write(&path, format!("{commands}\n"))?;
        Ok(path.display().to_string())
    }

    /// Reads until the shell is done: what it says of that, and what came before.
    fn done(&mut self) -> Result<(String, String), Failure> {
        let mut text = String::new();
        let last = self.output.until("", |line| {
            let is_last = line.starts_with(DONE);
            if !is_last {
                text.push_str(line);
                text.push('\n');
            }
            is_last
        })?;
        // The line break before the mark, which ends a last line without one.
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        Ok((last.trim_start_matches(DONE).to_owned(), text))
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It waits for nothing but its next line. An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell goes on after `! command` whether it failed or not; here it must fail.
fn refusals_checked(commands: &str) -> String {
    let mut checked = String::new();
    let mut lines = commands.lines();
    while let Some(line) = lines.next() {
        let Some(command) = line.strip_prefix("! ") else {
            checked.push_str(line);
            checked.push('\n');
            continue;
        };
        let mut command = command.to_owned();
        while let Some(start) = command.strip_suffix('\\') {
            command = format!("{start} {}", lines.next().unwrap_or_default());
        }
        checked.push_str(&format!(
            "if {command}; then should_have_been_refused $LINENO; fi\n"
        ));
    }
    checked
}

/// A terminal of its own in which something runs on.
pub(crate) struct Terminal {
    name: String,
    child: Child,
    output: Output,
}

impl Terminal {
    /// Pastes `commands` into a new terminal and waits for a line with `until`.
    pub(crate) fn start(machine: &Machine, name: &str, commands: &str, until: &str) -> Result<Self, Failure> {
        let (read, write) = std::io::pipe()?;
        let child = machine
            .bash()
            .args(["-c", &format!("set -euo pipefail\n{commands}")])
            // As in a terminal, where Ctrl-C reaches all that runs in the foreground and nobody else.
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(write.try_clone()?)
            .stdout(write)
            .spawn()?;
        let terminal = Self {
            name: name.to_owned(),
            child,
            output: Output::of(read),
        };
        let prefix = format!("{name}> ");
        terminal
            .output
            .until(&prefix, |line| line.contains(until))
            .map_err(|e| format!("terminal `{name}`, until `{until}`: {e}"))?;
        Ok(terminal)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Presses Ctrl-C and waits for the end, which must be a good one.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        let name = self.name.clone();
        // The shell's own `kill`: a small system has no program of that name.
        run::shown(Command::new("bash").args(["-c", &format!("kill -INT -- -{}", self.child.id())]))
            .map_err(|e| format!("what ran in terminal `{name}` has ended by itself: {e}"))?;
        self.output
            .to_end(&format!("{name}> "))
            .map_err(|e| format!("terminal `{name}` after Ctrl-C: {e}"))?;
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("terminal `{name}` after Ctrl-C: {status}").into())
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines that a shell and its commands write.
struct Output {
    lines: Receiver<String>,
}

impl Output {
    fn of(pipe: PipeReader) -> Self {
        let (send, lines) = channel();
        // Read on always, or a full pipe would stop the program.
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                if send.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        Self { lines }
    }

    /// Shows lines behind `prefix` until one `is_last`, and gives that.
    fn until(&self, prefix: &str, mut is_last: impl FnMut(&str) -> bool) -> Result<String, Failure> {
        let deadline = Instant::now() + STEP_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if !line.starts_with(DONE) {
                        println!("{prefix}{line}");
                    }
                    if is_last(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("nothing after {} s", STEP_MAX.as_secs()).into());
                }
                Err(RecvTimeoutError::Disconnected) => return Err("it ended".into()),
            }
        }
    }

    /// Shows all lines to the end.
    fn to_end(&self, prefix: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + END_MAX;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => println!("{prefix}{line}"),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it runs on after {} s", END_MAX.as_secs()).into());
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that is only a folder: nothing here touches anything else.
    fn machine(dir: &std::path::Path) -> Machine {
        Machine {
            work: dir.to_path_buf(),
            hidden: dir.to_path_buf(),
            environment: vec![("PATH", std::env::var_os("PATH").unwrap())],
        }
    }

    #[test]
    fn a_command_that_should_fail_must() {
        assert_eq!(
            refusals_checked("a\n! b \\\n  c\nd\n"),
            "a\nif b    c; then should_have_been_refused $LINENO; fi\nd\n"
        );
    }

    #[test]
    fn a_page_has_one_shell_in_which_each_command_must_succeed() {
        let dir = tempfile::tempdir().unwrap();
        let failure = |commands: &str| {
            let mut shell = Shell::start(&machine(dir.path())).unwrap();
            shell.paste(commands, 7).unwrap_err().to_string()
        };
        assert_eq!(
            failure("true\nfalse || test 1 = 2\ntrue\n"),
            "line 8: `test 1 = 2` ended with status 1"
        );
        assert_eq!(
            failure("true | false | true\n"),
            "line 7: `true` ended with status 1"
        );
        assert_eq!(
            failure("! false\n! true\n"),
            "line 8: `what should be refused` ended with status 0"
        );
        assert_eq!(failure("echo $NOT_SET\n"), "it ended the shell, with status 1");
        assert_eq!(failure("exit 0\n"), "it ended the shell, with status 0");

        let mut shell = Shell::start(&machine(dir.path())).unwrap();
        shell.paste("cat\nNAME=x\n! false\n", 1).unwrap();
        let seen = shell.show("printf %s \"$NAME\"; printf '\\ny\\n' >&2").unwrap();
        assert_eq!((seen.status, seen.text.as_str()), (0, "x\ny\n"));
        let seen = shell.show("printf a; (exit 3)").unwrap();
        assert_eq!((seen.status, seen.text.as_str()), (3, "a"));
        assert_eq!(shell.show("true").unwrap().text, "");
    }

    #[test]
    fn what_stays_ends_with_ctrl_c_and_well() {
        let dir = tempfile::tempdir().unwrap();
        let start = |commands: &str| Terminal::start(&machine(dir.path()), "t", commands, "it is up");
        // Stands for a service: the signal cuts it short.
        let stay = "echo it is up\nsleep 60\n";
        let good = start(&format!("trap 'exit 0' INT\n{stay}")).unwrap();
        assert_eq!(good.name(), "t");
        good.end().unwrap();
        let bad = start(&format!("trap 'exit 4' INT\n{stay}")).unwrap();
        assert!(bad.end().unwrap_err().to_string().contains("exit status: 4"));
        for commands in ["echo it was up\n", "false\necho it is up\n"] {
            let told = start(commands).err().unwrap().to_string();
            assert_eq!(told, "terminal `t`, until `it is up`: it ended", "{commands}");
        }
    }
}
