use super::*;

fn read(text: &str) -> Result<Page, Vec<String>> {
    Page::parse("x.md", text)
}

/// The actions of a page that is right.
fn actions(text: &str) -> Vec<Action> {
    let page = read(text).unwrap();
    page.steps.into_iter().map(|step| step.action).collect()
}

/// The one mistake of a page that is wrong.
fn mistake(text: &str) -> String {
    let mut found = read(text).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn paste(commands: &str) -> Action {
    Action::Paste {
        commands: commands.to_owned(),
    }
}

#[test]
fn a_block_without_a_mark_is_run() {
    assert_eq!(
        actions("a\n\n```sh\none\ntwo\n```\nb\n  ```sh\n  three \\\n      four\n  ```\n"),
        [paste("one\ntwo\n"), paste("three \\\n    four\n")]
    );
    let page = read("a\n\n```sh\none\n```\n").unwrap();
    assert_eq!((page.steps[0].line, page.is_run()), (4, true));
}

#[test]
fn a_block_that_is_not_run_gives_its_reason() {
    let reason = "needs a second machine".to_owned();
    let text = "<!-- not run: needs a second machine -->\n\n```sh\none\n```\n";
    assert_eq!(actions(text), [Action::Skip { reason }]);
    assert!(!read(text).unwrap().is_run());
    for mark in ["not run", "not run:", "not run: ", "not  run: x", "not here: x"] {
        let told = mistake(&format!("<!-- {mark} -->\n```sh\none\n```\n"));
        assert_eq!(told, "x.md:1: write <!-- not run: REASON -->", "{mark}");
    }
}

#[test]
fn a_language_that_is_not_known_is_refused() {
    for language in ["", "bash", "shell", "shell-session", "sh-session", "SH", "sh foo"] {
        let told = mistake(&format!("a\n```{language}\none\n```\n"));
        assert!(
            told.starts_with(&format!("x.md:2: the language `{language}`")),
            "{told}"
        );
    }
    // A mark does not let one through.
    assert!(read("<!-- not run: x -->\n```bash\none\n```\n").is_err());
    for language in READ_ONLY {
        assert!(actions(&format!("```{language}\nx\n```\n")).is_empty());
    }
}

#[test]
fn commands_cannot_hide_in_other_forms() {
    assert!(mistake("a\n\n    signet dev\n").contains("x.md:3: a block by indentation"));
    assert!(mistake("a\n\n\tsignet dev\n").contains("by indentation"));
    assert_eq!(actions("- a\n\n    b\n"), []);
    assert_eq!(actions("~~~sh\none\n~~~\n"), [paste("one\n")]);
    assert_eq!(actions("````sh\n```\n````\n"), [paste("```\n")]);
    assert!(mistake("```sh\none\n").contains("does not end"));
}

#[test]
fn a_comment_before_a_block_must_be_understood() {
    assert!(mistake("<!-- tour -->\n```sh\na\n```\n").contains("says nothing about the block"));
    assert!(mistake("<!-- skipped -->\n\n```toml\na\n```\n").contains("says nothing about the block"));
    // And one that is, must stand before a block.
    assert!(mistake("<!-- not run: x -->\ntext\n```sh\na\n```\n").contains("stands before no block"));
    assert!(mistake("a\n<!-- write b -->\n").contains("stands before no block"));
    assert_eq!(actions("<!-- arrows -->\na\n"), []);
    assert!(mistake("<!-- varies: time -->\n```sh\na\n```\n").contains("not for a block in `sh`"));
    assert!(mistake("<!-- soon -->\n```sh\na\n```\n").contains("not for a block in `sh`"));
    assert!(mistake("<!-- soon: x -->\n```console\n$ a\n```\n").contains("write <!-- soon -->"));
    assert!(mistake("<!-- not run: a -->\n```toml\na\n```\n").contains("not for a block in `toml`"));
    assert!(mistake("<!-- not run: a -->\n<!-- not run: b -->\n```sh\na\n```\n").contains("not together"));
}

#[test]
fn what_stays_says_when_it_can_be_used() {
    assert_eq!(
        actions("<!-- in server until it started -->\n```sh\na\nb\n```\n"),
        [Action::Leave {
            terminal: "server".into(),
            until: "it started".into(),
            commands: "a\nb\n".into()
        }]
    );
    for mark in ["in server", "in server until", "in until x"] {
        let told = mistake(&format!("<!-- {mark} -->\n```sh\none\n```\n"));
        assert_eq!(told, "x.md:1: write <!-- in TERMINAL until TEXT -->", "{mark}");
    }
}

#[test]
fn files_and_places() {
    assert_eq!(
        actions("<!-- write a/b.toml -->\n```toml\nx = 1\n```\n"),
        [Action::Write {
            path: "a/b.toml".into(),
            text: "x = 1\n".into()
        }]
    );
    let place = |text: &str| read(text).unwrap().place;
    assert_eq!(place("a\n"), Place::Empty);
    assert_eq!(
        place("<!-- page: in the clone -->\n# a\n"),
        Place::Clone { empty: None }
    );
    assert_eq!(
        place("<!-- page: in the clone, its a/b empty -->\n# a\n"),
        Place::Clone {
            empty: Some("a/b".into())
        }
    );
    assert!(mistake("<!-- page: in a clone -->\n# a\n").contains("in the clone"));
}

#[test]
fn consoles_hold_commands_and_what_they_show() {
    let show = |command: &str, shown: &[&str], varies: &[Vary]| Action::Show {
        command: command.to_owned(),
        shown: shown.iter().map(|line| (*line).to_owned()).collect(),
        varies: varies.to_vec(),
        is_soon: false,
    };
    assert_eq!(
        actions("```console\n$ a \\\n    b\nc\n\n$ d\n```\n"),
        [show("a \\\n    b", &["c", ""], &[]), show("d", &[], &[])]
    );
    let hex = "0123456789abcdef";
    assert_eq!(
        actions(&format!("<!-- varies: hex -->\n```console\n$ a\nid {hex}\n```\n")),
        [show("a", &[&format!("id {hex}")], &[Vary::Hex])]
    );
    let soon = actions(&format!(
        "<!-- soon -->\n<!-- varies: hex -->\n```console\n$ a\n{hex}\n```\n"
    ));
    assert!(
        matches!(soon.as_slice(), [Action::Show { is_soon: true, varies, .. }] if *varies == [Vary::Hex])
    );
    assert!(mistake("```console\nsignet dev\n```\n").contains("begins with a command"));
    assert!(mistake("```console\n```\n").contains("no command"));
    assert!(mistake("<!-- varies: time -->\n```console\n$ a\nb\n```\n").contains("varies by `time`"));
    assert!(mistake("<!-- varies: mood -->\n```console\n$ a\nb\n```\n").contains("varies: time hex"));
}

#[test]
fn all_mistakes_are_told_with_their_places() {
    let found = read("```bash\na\n```\n\n<!-- not run -->\n```sh\nb\n```\n").unwrap_err();
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("x.md:1: ") && found[1].starts_with("x.md:5: "));
}
