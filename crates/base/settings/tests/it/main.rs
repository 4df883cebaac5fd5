//! Whole files, good and bad.
#![expect(clippy::panic, reason = "a failed assumption is a failed test")]
#![expect(dead_code, reason = "settings that are read only to be refused")]

use signet_fault::Coded as _;
use signet_settings::{ByteSize, HostPort, ListenAddress, Period, SettingsError, parse, parse_checked};

#[derive(Debug, serde::Deserialize)]
struct Settings {
    trust_domain: String,
    #[serde(default)]
    log: LogFormat,
    listen: Listen,
    #[serde(default)]
    agents: Vec<Agent>,
    limits: Option<Limits>,
}

#[derive(Debug, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, serde::Deserialize)]
struct Listen {
    address: ListenAddress,
    pause: Option<Period>,
}

#[derive(Debug, serde::Deserialize)]
struct Agent {
    server: HostPort,
}

#[derive(Debug, serde::Deserialize)]
struct Limits {
    body: Option<ByteSize>,
    streams: Option<u16>,
}

fn mistakes(text: &str) -> Vec<String> {
    match parse::<Settings>(text, "a.toml") {
        Ok(good) => panic!("was read: {good:?}"),
        Err(error) => {
            assert_eq!(error.code(), "SGSE001");
            error.mistakes().iter().map(ToString::to_string).collect()
        }
    }
}

const GOOD: &str = r#"
trust_domain = "dev.test"
log = "json"

[listen]
address = "127.0.0.1:8445"
pause = "90s"

[[agents]]
server = "a:1"

[[agents]]
server = "b:2"

[limits]
body = "64KiB"
streams = 0xff
"#;

#[test]
fn a_good_file_is_read() {
    let good: Settings = parse(GOOD, "a.toml").unwrap();
    assert_eq!(good.log, LogFormat::Json);
    assert_eq!(good.listen.pause.unwrap().0.as_secs(), 90);
    assert_eq!(good.agents[1].server.host, "b");
    let limits = good.limits.unwrap();
    assert_eq!((limits.body.unwrap().0, limits.streams), (65_536, Some(255)));
    let short: Settings = parse(
        "trust_domain = \"a\"\nlisten = { address = \"[::1]:0\" }",
        "a.toml",
    )
    .unwrap();
    assert!(short.agents.is_empty() && short.limits.is_none() && short.log == LogFormat::Text);
}

#[test]
fn all_unknown_keys_are_reported_with_line_and_nearest_name() {
    let text = "trust_domian = \"x\"\ntrust_domain = \"x\"\nnote = 1\n\n[listen]\nadress = \"y\"\n\
                address = \"127.0.0.1:1\"\n\n[[agents]]\nserver = \"a:1\"\nservers = 2\n\n[limit]\nbody = 1\n";
    assert_eq!(
        mistakes(text),
        [
            "line 1: unknown key `trust_domian`, did you mean `trust_domain`?",
            "line 3: unknown key `note`, known here: trust_domain, log, listen, agents, limits",
            "line 6: unknown key `listen.adress`, did you mean `address`?",
            "line 11: unknown key `agents[0].servers`, did you mean `server`?",
            "line 13: unknown key `limit`, did you mean `limits`?",
        ]
    );
}

#[test]
fn several_kinds_of_mistakes_come_in_one_report() {
    let text = "trust_domain = 7\nlog = \"jsno\"\n[listen]\naddress = \"localhost\"\npause = 90\nx = 1\n\
                [[agents]]\nserver = \"a\"\n[[agents]]\nserver = \"b:0\"\n[limits]\nbody = -1\nstreams = 70000\n";
    let found = mistakes(text);
    assert_eq!(
        found,
        [
            "line 1: `trust_domain`: expected a string, found 7",
            "line 2: `log`: `jsno` is not one of text, json; did you mean `json`?",
            "line 4: `listen.address`: `localhost` is not an address to listen on: write IP:PORT, such as \
             127.0.0.1:8445 or 0.0.0.0:8445",
            "line 5: `listen.pause`: expected a duration in quotes, such as \"90s\", found 90",
            "line 6: unknown key `listen.x`, known here: address, pause",
            "line 8: `agents[0].server`: `a` is not HOST:PORT: the port is missing, as in server.example:8445",
            "line 10: `agents[1].server`: `b:0` is not HOST:PORT: the port is a whole number from 1 to 65535",
            "line 12: `limits.body`: expected a number of bytes, such as 65536 or \"64KiB\", found -1",
            "line 13: `limits.streams`: expected a whole number from 0 to 65535, found 70000",
        ]
    );
}

#[test]
fn a_missing_key_is_named_with_its_table_and_said_once() {
    assert_eq!(
        mistakes("trust_domain = \"x\"\n[listen]\npause = \"1s\"\n"),
        ["line 2: key `address` is missing in `listen`"]
    );
    assert_eq!(mistakes(""), ["line 1: key `trust_domain` is missing"]);
    // The wrong value is required, so the pass without it misses it: that is not said again.
    assert_eq!(
        mistakes("trust_domain = 1\nlisten = { address = \"127.0.0.1:1\" }"),
        ["line 1: `trust_domain`: expected a string, found 1"]
    );
}

#[test]
fn a_value_in_place_of_a_table_is_named() {
    assert_eq!(
        mistakes("trust_domain = \"x\"\nlisten = \"127.0.0.1:1\""),
        ["line 2: `listen`: expected a table, found a string"]
    );
    let found = mistakes("trust_domain = [\"x\"]\nagents = 1\nlisten = { address = 1 }");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn broken_syntax_names_each_line() {
    let found = mistakes("trust_domain = \nlog = = 1\n");
    assert!(found.len() >= 2, "{found:?}");
    assert!(
        found[0].starts_with("line 1: ") && found[1].starts_with("line 2: "),
        "{found:?}"
    );
    assert!(mistakes("a = 1\na = 2\n")[0].contains("line 2: duplicate key"));
}

#[test]
fn further_checks_join_the_same_report() {
    let text = "trust_domain = \"x\"\nlgo = 1\n[listen]\naddress = \"127.0.0.1:80\"\n";
    let error = parse_checked::<Settings>(text, "a.toml", |settings, report| {
        if settings.listen.address.0.port() < 1024 {
            report.at("listen.address", "the port is below 1024");
        }
        report.at("limits.body", "a limit is needed");
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`a.toml` has 3 mistakes: line 1: `limits.body`: a limit is needed; line 2: unknown key `lgo`, did you \
         mean `log`?; line 4: `listen.address`: the port is below 1024"
    );
}

#[test]
fn mistakes_are_bounded() {
    let text: String = (0..5_000).map(|n| format!("k{n} = 1\n")).collect();
    assert_eq!(mistakes(&text).len(), signet_settings::MISTAKES_MAX);
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let missing = signet_settings::load::<Settings>("/no/such/file.toml").unwrap_err();
    assert!(matches!(missing, SettingsError::Read { .. }));
    assert!(missing.to_string().starts_with("read `/no/such/file.toml`: "));
    let long = " ".repeat(signet_settings::FILE_BYTES_MAX as usize + 1);
    assert!(matches!(
        parse::<Settings>(&long, "a.toml"),
        Err(SettingsError::TooLarge { .. })
    ));
}

#[test]
fn the_register_stands() {
    assert_eq!(signet_fault::flaws(&[signet_settings::REGISTER]), []);
}

proptest::proptest! {
    #[test]
    fn no_input_panics(text in "([a-z_.]{1,8} ?= ?[\"0-9a-z\\[\\]{}.]{0,6}\n|\\[{1,2}[a-z.]{1,8}\\]{1,2}\n){0,8}") {
        let _ = parse::<Settings>(&text, "a.toml");
    }

    #[test]
    fn known_keys_with_any_value_never_panic(value in "\\PC{0,20}") {
        let _ = parse::<Settings>(&format!("{GOOD}\nextra = {value}\n"), "a.toml");
        let _ = parse::<Settings>(&format!("trust_domain = \"x\"\nlisten = {value}\n"), "a.toml");
    }
}
