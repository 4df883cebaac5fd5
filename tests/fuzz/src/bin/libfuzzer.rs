//! All targets in one libFuzzer binary: `SIGNET_FUZZ_TARGET` names the one that it runs. `cargo xtask fuzz` builds and
//! runs it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signet_fuzz::Target;
use std::sync::OnceLock;

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("SIGNET_FUZZ_TARGET").unwrap_or_default();
        match Target::named(&name) {
            Some(target) => target,
            None => {
                eprintln!("SIGNET_FUZZ_TARGET names no target: `{name}`");
                std::process::abort()
            }
        }
    })
}

fuzz_target!(|bytes: &[u8]| target().run(bytes));
