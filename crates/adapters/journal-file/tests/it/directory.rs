use crate::open;
use signet_fault::Coded as _;
use signet_journal_file::{FileJournal, JournalFileError, Options};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

fn code(path: &Path) -> &'static str {
    open(path).unwrap_err().code()
}

#[test]
fn files_are_private_and_of_full_size() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let _journal = open(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    let first = fs::metadata(crate::segment(&path, 1)).unwrap();
    assert_eq!(first.mode() & 0o777, 0o600);
    assert_eq!(first.len(), 128 * 1024);
    assert!(
        first.blocks() * 512 >= first.len(),
        "its space is taken, not promised"
    );
    assert_eq!(fs::metadata(path.join("lock")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_missing_directory_is_named() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let error = open(&directory.path().join("missing/journal")).unwrap_err();
    assert_eq!(error.code(), "SGJF001");
    assert!(error.to_string().contains("missing"), "{error}");
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(code(&file), "SGJF001");
    assert_eq!(code(&file.join("journal")), "SGJF001");
}

#[test]
fn a_second_opener_is_refused_by_the_name_of_the_first() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    let journal = open(directory.path()).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert_eq!(error.code(), "SGJF006");
    let process = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    drop(journal);
    open(directory.path()).unwrap();
}

#[test]
fn another_users_directory_is_refused() {
    let _quiet = crate::FAILPOINTS.blocking_read();
    let directory = tempfile::tempdir().unwrap();
    // Only root can give a directory away; anyone else has root's at hand, but may write to none of them.
    if std::os::unix::fs::chown(directory.path(), Some(4_242), None).is_ok() {
        let error = open(&directory.path().join("journal")).unwrap_err();
        assert!(
            matches!(error, JournalFileError::ForeignOwner { owner: 4_242, .. }),
            "{error}"
        );
        assert_eq!(code(directory.path()), "SGJF002");
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            0,
            "nothing was left there"
        );
    } else {
        assert_eq!(code(Path::new("/signet-test-journal")), "SGJF003");
    }
}

#[test]
fn a_segment_size_out_of_bounds_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for segment_bytes in [0, 128 * 1024 - 1, 1024 * 1024 * 1024 + 1] {
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let error = FileJournal::open_with(directory.path(), &options).unwrap_err();
        assert_eq!(error.code(), "SGJF012");
    }
}
