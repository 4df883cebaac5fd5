//! Runs the scenarios, or those named on the command line, and says how each went.

use signet_interop::scenarios::ALL;
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted
        .iter()
        .find(|name| !ALL.iter().any(|s| s.name == name.as_str()))
    {
        let names: Vec<_> = ALL.iter().map(|s| s.name).collect();
        eprintln!("no scenario `{unknown}`; there are: {}", names.join(", "));
        return ExitCode::from(2);
    }
    let (mut passed, mut failed) = (0, 0);
    for scenario in ALL
        .iter()
        .filter(|s| wanted.is_empty() || wanted.iter().any(|w| w == s.name))
    {
        let start = Instant::now();
        let result = (scenario.run)();
        let seconds = start.elapsed().as_secs_f32();
        match result {
            Ok(what) => {
                passed += 1;
                println!("ok     {} ({seconds:.1} s): {what}", scenario.name);
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {} ({seconds:.1} s): {error}", scenario.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
