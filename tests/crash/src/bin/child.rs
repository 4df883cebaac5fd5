//! The process that crashes: `signet-crash-child store|journal DIRECTORY STEPS prune|keep`.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, directory, steps, prunes] = arguments.as_slice() else {
        return Err("usage: signet-crash-child store|journal DIRECTORY STEPS prune|keep".into());
    };
    let steps = steps.parse()?;
    let prunes = prunes == "prune";
    signet_fault::failpoint::arm_from_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()?;
    let directory = Path::new(directory);
    match role.as_str() {
        "store" => runtime.block_on(signet_crash::child::store(directory, steps, prunes)),
        "journal" => runtime.block_on(signet_crash::child::journal(directory, steps, prunes)),
        other => return Err(format!("`{other}` is neither store nor journal").into()),
    }
    Ok(())
}
