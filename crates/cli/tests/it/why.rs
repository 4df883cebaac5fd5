//! `signet why --pid`, as whoever is woken at night uses it.

use crate::dev::{Dev, uid};
use crate::fleet::Fleet;
use crate::program::{Done, run, signet};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

/// A process to ask about.
struct Asked(Child);

impl Asked {
    /// One that runs its program: `spawn` returns while the kernel is still loading it, and a process that is looked
    /// at then has become another one a moment later.
    fn start() -> Self {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let said = b"running";
        child.stdin.as_mut().expect("input").write_all(said).expect("say");
        let mut heard = [0; 7];
        child
            .stdout
            .as_mut()
            .expect("output")
            .read_exact(&mut heard)
            .expect("hear");
        assert_eq!(&heard, said);
        Self(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn document(done: &Done) -> Value {
    serde_json::from_str(&done.out).unwrap_or_else(|e| panic!("{e}: {done:?}"))
}

/// Asks until the answer is as wanted: a change takes a moment to arrive.
fn await_answer(mut ask: impl FnMut() -> Done, wanted: impl Fn(&Value) -> bool) -> (Done, Value) {
    loop {
        let done = ask();
        let answer = document(&done);
        if wanted(&answer) {
            return (done, answer);
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_process_is_told_its_identity_and_what_it_lacks_once_that_is_gone() {
    let dev = Dev::start(&["--no-demo"]);
    let asked = Asked::start();
    let pid = asked.pid();
    let told = dev.run(&["why", "--pid", &pid]);
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""), "{told:?}");
    for part in [
        dev.user_id().as_str(),
        format!("unix:uid:{}", uid()).as_str(),
        "/cat",
        "yes",
        "connected",
    ] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
    let answer = dev.json(&["why", "--pid", &pid]);
    assert_eq!(answer["has_identity"], true);
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(answer["entries"]["matched"], 1);
    let names: Vec<_> = answer["attestors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| &a["name"])
        .collect();
    assert_eq!(names, ["unix", "systemd"]);
    // The socket by its own name gives the same.
    let by_socket = run(&[
        "why",
        "--pid",
        &pid,
        "--socket",
        dev.text("local_api"),
        "-o",
        "json",
    ]);
    assert_eq!(by_socket.json()["entries"], answer["entries"]);

    // One entry that asks for another program.
    let entry = answer["entries"]["nearest"][0]["id"].as_str().unwrap();
    let selector = format!("unix:uid:{}", uid());
    dev.json(&["entry", "delete", entry]);
    let other = dev.json(&[
        "entry",
        "create",
        "--spiffe-id",
        "spiffe://dev.test/other",
        "--selector",
        &selector,
        "--selector",
        "unix:path:/nowhere",
    ]);
    let ask = || dev.run(&["why", "--pid", &pid, "-o", "json"]);
    let (done, answer) = await_answer(ask, |answer| {
        answer["has_identity"] == false && answer["entries"]["total"] == 1
    });
    assert_eq!(done.code, Some(1));
    assert_eq!(answer["error"]["code"], "SGAG009");
    let nearest = &answer["entries"]["nearest"][0];
    assert_eq!(nearest["id"], other["id"]);
    assert_eq!(
        (&nearest["satisfied"], &nearest["missing"]),
        (&1.into(), &"unix:path:/nowhere".into())
    );
    assert!(
        done.err
            .starts_with(&format!("error[SGAG009]: process {pid} has no identity: ")),
        "{done:?}"
    );
    let told = dev.run(&["why", "--pid", &pid]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.out.contains("lacks unix:path:/nowhere (it is unix:path:/"),
        "{}",
        told.out
    );
    assert_eq!(told.err.lines().count(), 1, "{}", told.err);

    // What is suggested works as it stands.
    let suggestion = answer["suggestion"].as_str().unwrap();
    assert!(told.err.contains(suggestion), "{}", told.err);
    let words: Vec<&str> = suggestion.split(' ').skip(1).collect();
    assert_eq!(dev.run(&words).code, Some(0), "{suggestion}");
    let (done, answer) = await_answer(ask, |answer| answer["has_identity"] == true);
    assert_eq!((done.code, done.err.as_str()), (Some(0), ""));
    assert_eq!(
        answer["entries"]["nearest"][0]["spiffe_id"],
        "spiffe://dev.test/cat"
    );
    assert_eq!(answer["suggestion"], Value::Null);
}

#[test]
fn an_agent_whose_server_is_away_says_so_and_since_when() {
    let (fleet, _) = Fleet::init();
    let mut server = fleet.start_server();
    fleet.make_join_file();
    let mut agent = fleet.start_agent();
    let asked = Asked::start();
    let socket = format!("unix://{}", fleet.text("local.sock"));
    let ask = || -> Done {
        let mut command = signet();
        command.args(["why", "--pid", &asked.pid(), "-o", "json", "--socket", &socket]);
        command.output().unwrap().into()
    };
    let (done, answer) = await_answer(ask, |answer| answer["feed"]["connected"] == true);
    assert_eq!(
        (done.code, &answer["error"]["code"]),
        (Some(1), &"SGAG009".into())
    );
    assert_eq!(answer["entries"]["total"], 0);
    assert!(
        answer["feed"]["node"]
            .as_str()
            .unwrap()
            .starts_with("spiffe://fleet.test/signet/node/")
    );
    let server_name = answer["feed"]["server"].clone();
    assert!(server.end(Signal::TERM).success());
    let (_, answer) = await_answer(ask, |answer| answer["feed"]["connected"] == false);
    assert_eq!(answer["feed"]["server"], server_name);
    assert!(
        answer["feed"]["since"].is_string() && answer["feed"]["reason"].is_string(),
        "{answer}"
    );
    let told: Done = signet()
        .args(["why", "--pid", &asked.pid(), "--socket", &socket])
        .output()
        .unwrap()
        .into();
    assert!(told.out.contains("NOT connected"), "{}", told.out);
    assert!(agent.end(Signal::TERM).success());
    let socket_file = fleet.at("local.sock");
    assert!(!socket_file.exists(), "gone with its agent");
    let refused = run(&["why", "--pid", "1", "--socket", &socket]);
    assert!(refused.refused("SGCL020").contains("--socket"), "{refused:?}");
}

#[test]
fn what_cannot_be_told_is_refused_by_name() {
    let dev = Dev::start(&["--no-demo"]);
    let asked = Asked::start();
    let dead = asked.pid();
    drop(asked);
    let refused = dev.run(&["why", "--pid", &dead]);
    assert!(refused.refused("SGAG051").contains(&dead));
    for id in ["0123abcd", "log/17"] {
        let refused = dev.run(&["why", id]);
        assert!(refused.refused("SGCL004").contains("--pid"), "{refused:?}");
    }
    for wrong in [
        &["why"][..],
        &["why", "--pid", "0"],
        &["why", "--pid", "x"],
        &["why", "--pid", "1", "id"],
    ] {
        let refused = dev.run(wrong);
        assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{wrong:?}");
    }
    let tcp = dev.run(&["why", "--pid", "1", "--socket", "tcp://127.0.0.1:1"]);
    assert_eq!(tcp.code, Some(2), "{tcp:?}");
    assert!(tcp.err.starts_with("error[SGCL021]"), "{tcp:?}");
    // A socket of another kind answers something else.
    let wrong = run(&["why", "--pid", "1", "--socket", dev.text("workload_api")]);
    wrong.refused("SGCL003");
}
