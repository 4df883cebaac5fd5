//! Backups by the built binary: under load, to files of every kind, and back into a server that agents know.

use crate::fleet::Fleet;
use crate::program::{Done, run, signet};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

impl Fleet {
    fn backup(&self, file: &str) -> Done {
        run(&[
            "server",
            "backup",
            &self.text(file),
            "--api",
            &self.api(),
            "-o",
            "json",
        ])
    }

    fn restore(&self, file: &str, dir: &str, more: &[&str]) -> Done {
        let (file, dir) = (self.text(file), self.text(dir));
        let mut args = vec!["server", "restore", &file, "--dir", &dir, "-o", "json"];
        args.extend(more);
        run(&args)
    }

    fn identities(&self) -> BTreeSet<String> {
        let list = run(&["entry", "list", "--api", &self.api(), "-o", "json"]).json();
        let entries = list.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| entry["spiffe_id"].as_str().unwrap().to_owned())
            .collect()
    }

    fn mint(&self) -> Done {
        let api = self.api();
        run(&[
            "mint",
            "jwt",
            "--api",
            &api,
            "--spiffe-id",
            "spiffe://fleet.test/a",
            "--audience",
            "x",
            "--reason",
            "test",
        ])
    }
}

#[test]
fn a_backup_under_load_is_restored_into_a_server_that_its_agent_finds_again() {
    let (fleet, _) = Fleet::init();
    let mut server = fleet.start_server();
    fleet.make_join_file();
    let agent = fleet.start_agent();
    fleet.entitle("/a");
    let before = fleet.wait_for_svid();

    // One consistent state, while others change it and have things issued.
    let stop = AtomicBool::new(false);
    let taken = std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                fleet.entitle(&format!("/load/{n}"));
                assert_eq!(fleet.mint().code, Some(0));
            }
        });
        let taken = [fleet.backup("one"), fleet.backup("two")];
        stop.store(true, Ordering::Relaxed);
        taken
    });
    let [first, second] = taken.map(|done| done.json());
    assert!(first["seq"].as_u64() <= second["seq"].as_u64());
    let mode = fs::metadata(fleet.at("two")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(second["seal"].as_str().unwrap().ends_with("seal.key"));
    let all = fleet.identities();
    assert_eq!(server.end(Signal::TERM).code(), Some(0));

    // The disk died.
    fs::remove_dir_all(fleet.at("server")).unwrap();
    let restored = fleet.restore("two", "server", &[]).json();
    assert!(restored["seq"].as_u64() > second["seq"].as_u64());
    fs::remove_file(fleet.at("join")).unwrap();
    let mut server = fleet.start_server();
    let now = fleet.identities();
    assert!(
        now.contains("spiffe://fleet.test/a") && now.is_subset(&all),
        "{now:?}"
    );
    // The agent was never stopped: it takes the new log from its beginning, as the node that it was.
    fleet.entitle("/after");
    // One that is still being signed joins the others in a moment, in no given order.
    let mut expected = now;
    expected.insert("spiffe://fleet.test/after".to_owned());
    loop {
        let seen = fleet.wait_for_svid();
        let ids: BTreeSet<String> = seen["svids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|svid| svid["spiffe_id"].as_str().unwrap().to_owned())
            .collect();
        if ids.contains("spiffe://fleet.test/after") {
            assert!(ids.is_subset(&expected), "{ids:?}");
        }
        if ids == expected {
            break;
        }
    }
    assert_eq!(before["svids"][0]["spiffe_id"], "spiffe://fleet.test/a");
    drop(agent);
    assert_eq!(server.end(Signal::TERM).code(), Some(0));
}

#[test]
fn a_backup_goes_where_nothing_else_is_lost() {
    let (fleet, _) = Fleet::init();
    let mut server = fleet.start_server();
    fs::write(fleet.at("precious"), "x").unwrap();
    fleet.backup("precious").refused("SGCL002");
    assert_eq!(fs::read_to_string(fleet.at("precious")).unwrap(), "x");
    let refused = fleet.backup("server");
    assert!(
        refused.refused("SGCL002").ends_with("name a file in it"),
        "{refused:?}"
    );
    fleet.backup("no/such/folder").refused("SGCL002");
    // An earlier backup is replaced, whole.
    fleet.backup("file").json();
    let first = fs::read(fleet.at("file")).unwrap();
    fleet.entitle("/a");
    fleet.backup("file").json();
    assert_ne!(fs::read(fleet.at("file")).unwrap(), first);
    // To a full disk, and to a pipe.
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut to_full = signet();
    let done: Done = to_full
        .args(["server", "backup", "-", "--api", &fleet.api()])
        .stdout(full)
        .output()
        .unwrap()
        .into();
    done.refused("SGCL002");
    let piped = signet()
        .args(["server", "backup", "-", "--api", &fleet.api()])
        .output()
        .unwrap();
    assert!(piped.status.success() && piped.stdout.starts_with(b"signet backup 2\n"));
    assert!(String::from_utf8_lossy(&piped.stderr).contains("seal.key"));
    fleet.restore("file", "server", &["--replace"]).refused("SGSV022");
    assert_eq!(server.end(Signal::TERM).code(), Some(0));
    fleet.backup("file").refused("SGNE012");
}
