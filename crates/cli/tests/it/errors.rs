//! What a command says when it cannot do what it was asked: the thing, the reason, the next step, on one line.

use crate::program::{run, signet, text};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

#[test]
fn a_server_that_is_not_there_is_named_with_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/api.sock", text(dir.path()));
    let done = run(&["entry", "list", "--api", &url]);
    assert_eq!(
        done.refused("SGNE012"),
        format!(
            "error[SGNE012]: no server at `{url}`: No such file or directory (os error 2), start one with `signet \
             dev` or `signet server run --config FILE`, or name its address with --api or SIGNET_API"
        )
    );
    // The variable counts as much as the flag.
    let by_env = signet()
        .args(["node", "list"])
        .env("SIGNET_API", &url)
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&by_env.stderr).contains(&url));
    let https = run(&["entry", "list", "--api", "https://127.0.0.1:8444"]);
    assert!(
        https
            .refused("SGCL004")
            .contains("does not exist in this version")
    );
}

#[test]
fn a_server_without_settings_is_told_where_init_wrote_them() {
    let done = run(&["server", "run", "--config", "/no/such/server.toml"]);
    let line = done.refused("SGSE002");
    assert!(
        line.contains("`/no/such/server.toml`") && line.contains("`signet server init` wrote, with --config"),
        "{line}"
    );
}

#[test]
fn an_agent_that_is_not_there_is_named_with_how_to_start_one() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("unix://{}/agent.sock", text(dir.path()));
    let done = run(&["svid", "x509", "--socket", &url]);
    let line = done.refused("SGWL006");
    assert!(line.contains(&url) && line.contains("signet agent run"), "{line}");
}

#[test]
fn a_join_string_that_is_none_is_refused_with_its_reason_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("join");
    fs::write(&file, "sgjoin1.e30").unwrap();
    let state = dir.path().join("state");
    let args = [
        "agent",
        "run",
        "--join-file",
        text(&file),
        "--state-dir",
        text(&state),
    ];
    let done = run(&args);
    let line = done.refused("SGAG021");
    let (what, next) = line.rsplit_once(", ").unwrap();
    assert_eq!(
        what.matches("join string").count(),
        2,
        "what failed, and why, each once: {what}"
    );
    assert!(
        what.starts_with("error[SGAG021]: read the join string: "),
        "{line}"
    );
    assert!(
        next.contains("as `signet node join-token create` printed it"),
        "{line}"
    );
}

#[test]
fn a_socket_of_something_else_is_not_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let other = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut seen = [0; 1024];
        let _ = stream.read(&mut seen).unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            .unwrap();
    });
    let done = run(&["entry", "list", "--api", &format!("unix://{}", text(&path))]);
    done.refused("SGCL003");
    other.join().unwrap();
}

#[test]
fn a_file_of_entries_that_is_none_is_refused_before_the_server_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("entries.jsonl");
    fs::write(&file, "\n\n").unwrap();
    let api = "unix:///nowhere/api.sock";
    let empty = run(&["entry", "create", "--file", text(&file), "--api", api]);
    assert!(empty.refused("SGCL012").contains("holds no entry"), "{empty:?}");
    run(&["entry", "create", "--file", "/no/such.jsonl", "--api", api]).refused("SGCL001");
    let endless = run(&["entry", "create", "--file", "/dev/zero", "--api", api]);
    assert!(endless.refused("SGCL001").contains("longer than"), "{endless:?}");
}

#[test]
fn every_mistake_in_a_settings_file_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    fs::write(
        &file,
        "sevrers = []\nmetrics = 8452\n[workload_api]\npaht = \"/x\"\n",
    )
    .unwrap();
    for args in [
        ["config", "check", text(&file)].as_slice(),
        &["agent", "run", "--config", text(&file)],
    ] {
        let done = run(args);
        let line = done.refused("SGSE001");
        for part in [
            "line 1",
            "did you mean `servers`",
            "line 2",
            "line 4",
            "did you mean `path`",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    fs::write(&file, "").unwrap();
    let good = run(&["config", "check", text(&file), "-o", "json"]);
    assert_eq!(good.json()["kind"], "agent");
    run(&["config", "check", "/no/such.toml"]).refused("SGSE002");
}

#[test]
fn a_file_of_unknown_name_is_read_as_what_it_resembles() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    fs::write(
        &file,
        "trust_domian = \"a.test\"\ndata_dir = \"/d\"\nseal = \"file=/k\"\n",
    )
    .unwrap();
    assert!(
        run(&["config", "check", text(&file)])
            .refused("SGSE001")
            .contains("did you mean `trust_domain`")
    );
    fs::write(&file, "state_dir = \"/d\"\njoin_file = \"/j\"\n").unwrap();
    assert_eq!(
        run(&["config", "check", text(&file), "-o", "json"]).json()["kind"],
        "agent"
    );
    let as_server = run(&["config", "check", "--kind", "server", text(&file)]);
    as_server.refused("SGSE001");
}

#[test]
fn seals_other_than_a_file_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    for seal in ["systemd", "tpm", "passphrase"] {
        let done = run(&[
            "server",
            "init",
            "--dir",
            text(&state),
            "--trust-domain",
            "a.test",
            "--seal",
            seal,
            "--recovery-out",
            "-",
        ]);
        let line = done.refused("SGKY001");
        assert!(line.contains(&format!("`{seal}` does not exist yet")), "{line}");
        assert!(!state.exists(), "nothing was made");
    }
}

#[test]
fn health_says_when_nothing_runs() {
    // A port that nobody has: bound by us, closed again.
    let url = format!("http://127.0.0.1:{}", crate::program::free_port());
    let line = run(&["health", "--url", &url]).refused("SGCL006").to_owned();
    assert!(
        line.contains(&url) && line.contains("signet server run"),
        "{line}"
    );
}

#[test]
fn logs_that_mean_nothing_are_refused_at_the_start() {
    for (name, value, code) in [
        ("SIGNET_LOG", "signet=loud", "SGTE001"),
        ("SIGNET_LOG_FORMAT", "yaml", "SGTE002"),
    ] {
        let done = signet().args(["dev"]).env(name, value).output().unwrap();
        crate::program::Done::from(done).refused(code);
    }
}

#[test]
fn dev_refuses_directories_that_it_cannot_have() {
    let dir = tempfile::tempdir().unwrap();
    let open = dir.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let line = run(&["dev", "--dir", text(&open)]).refused("SGCL008").to_owned();
    assert!(line.contains("others may write to it"), "{line}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    run(&["dev", "--dir", text(&file)]).refused("SGCL008");
    let long = dir.path().join("d".repeat(100));
    let line = run(&["dev", "--dir", text(&long)]).refused("SGCL009").to_owned();
    assert!(line.contains("107") && line.contains("shorter"), "{line}");
}

#[test]
fn dev_names_a_port_that_is_taken_and_the_flag_for_another() {
    let holder = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    const FLAGS: [&str; 3] = ["--http-port", "--agent-port", "--metrics-port"];
    for taken in FLAGS {
        let mut args = vec!["dev", "--no-demo"];
        for flag in FLAGS {
            args.extend([flag, if flag == taken { port.as_str() } else { "0" }]);
        }
        let done = run(&args);
        let line = done.refused("SGNE008");
        assert!(line.contains(&port) && line.contains("--agent-port 0"), "{line}");
    }
}
