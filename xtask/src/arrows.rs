//! Checks the workspace against the tables of ARCHITECTURE.md: which tier may use which, and what each never names.

use crate::{Failure, files, run};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Libraries that would bring a second provider of cryptography.
const REFUSED: [&str; 6] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "aws-lc-fips-sys",
    "rustls-openssl",
];

/// Where the provider's name may stand in a source: its own crate, and those that hand a library its backend.
const PROVIDER_FOLDERS: [&str; 5] = [
    "crates/base/crypto",
    "crates/formats/x509",
    "crates/formats/check",
    "crates/wire/tls",
    "crates/testkit",
];

/// The one crate where unsafe code may stand.
const UNSAFE_FOLDER: &str = "crates/base/sys";

/// The one crate that is generated as a whole: the house lints are not for it, that on unsafe code is.
const GENERATED_FOLDER: &str = "crates/wire/proto";

/// A tier's row.
#[derive(Debug, Default)]
struct Tier {
    may_use: BTreeSet<String>,
    never: BTreeSet<String>,
}

/// One package of the workspace.
#[derive(Debug)]
struct Package {
    name: String,
    /// Its folder from the root.
    folder: String,
    tier: String,
    uses: Vec<Use>,
}

#[derive(Debug)]
struct Use {
    name: String,
    is_dev: bool,
}

/// Fails with everything that ARCHITECTURE.md does not allow.
pub(crate) fn check(root: &Path) -> Result<(), Failure> {
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md"))
        .map_err(|e| format!("read ARCHITECTURE.md: {e}"))?;
    let tiers = tiers(&text)?;
    let captured = |args: &[&str]| run::captured(run::cargo().current_dir(root).args(args).arg("--locked"));
    let metadata = captured(&["metadata", "--format-version", "1", "--no-deps"])?;
    let tree = captured(&["tree", "--workspace", "--prefix", "none", "--format", "{p}"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = packages(&metadata, root)?;
    let mut flaws = edge_flaws(&packages, &tiers);
    flaws.extend(packages.iter().filter_map(name_flaw));
    flaws.extend(provider_flaws(&tree, &packages));
    for package in &packages {
        flaws.extend(source_flaws(root, package)?);
    }
    if flaws.is_empty() {
        println!(
            "{} packages, {} tiers: as ARCHITECTURE.md allows",
            packages.len(),
            tiers.len()
        );
        Ok(())
    } else {
        Err(format!("ARCHITECTURE.md does not allow:\n  {}", flaws.join("\n  ")).into())
    }
}

/// Reads the rows `| tier | may use | never names |` that follow the line `<!-- arrows -->`.
fn tiers(text: &str) -> Result<BTreeMap<String, Tier>, Failure> {
    let (_, table) = text
        .split_once("<!-- arrows -->")
        .ok_or("ARCHITECTURE.md has no line `<!-- arrows -->` before its table of tiers")?;
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split(',')
            .map(|word| word.trim().trim_matches('`').to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    let tiers: BTreeMap<String, Tier> = table
        .lines()
        .map(str::trim)
        .skip_while(|line| line.is_empty())
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let tier = Tier {
                may_use: words(cells.clone().nth(1)?),
                never: words(cells.clone().nth(2)?),
            };
            Some((cells.next()?.trim_matches('`').to_owned(), tier))
        })
        .collect();
    if tiers.is_empty() {
        return Err("the table of tiers in ARCHITECTURE.md is empty".into());
    }
    Ok(tiers)
}

fn packages(metadata: &Value, root: &Path) -> Result<Vec<Package>, Failure> {
    let members: BTreeSet<&str> = list(metadata, "workspace_members")
        .filter_map(Value::as_str)
        .collect();
    let root = root.canonicalize()?;
    list(metadata, "packages")
        .filter(|p| p["id"].as_str().is_some_and(|id| members.contains(id)))
        .map(|p| {
            let name = p["name"].as_str().ok_or("a package without name")?;
            let manifest = Path::new(p["manifest_path"].as_str().unwrap_or_default());
            let folder = manifest
                .parent()
                .and_then(|dir| dir.strip_prefix(&root).ok())
                .ok_or_else(|| format!("`{name}` lies outside the workspace"))?
                .to_string_lossy()
                .into_owned();
            let uses = list(p, "dependencies").filter_map(|d| {
                Some(Use {
                    name: d["name"].as_str()?.to_owned(),
                    is_dev: d["kind"].as_str() == Some("dev"),
                })
            });
            Ok(Package {
                name: name.to_owned(),
                tier: tier_of(&folder).to_owned(),
                uses: uses.collect(),
                folder,
            })
        })
        .collect()
}

/// `crates/formats/id` is in `formats`; `crates/cli`, `tests/interop` and `xtask` are tiers of their own.
fn tier_of(folder: &str) -> &str {
    let mut parts = folder.split('/');
    match (parts.next(), parts.next()) {
        (Some("crates"), Some(tier)) => tier,
        (Some(first), _) => first,
        _ => folder,
    }
}

fn edge_flaws(packages: &[Package], tiers: &BTreeMap<String, Tier>) -> Vec<String> {
    let tier_by_name: BTreeMap<&str, &str> = packages
        .iter()
        .map(|p| (p.name.as_str(), p.tier.as_str()))
        .collect();
    let mut flaws = Vec::new();
    for package in packages {
        let Some(tier) = tiers.get(&package.tier) else {
            flaws.push(format!(
                "`{}`: the tier `{}` has no row in the table",
                package.name, package.tier
            ));
            continue;
        };
        for used in &package.uses {
            let (user, used_name) = (&package.name, &used.name);
            match tier_by_name.get(used_name.as_str()) {
                // Fakes and forges are for tests, and any test may have them.
                Some(&"testkit") if used.is_dev => {}
                // A test may look at anything below, also at what its crate reaches only through others.
                Some(used_tier) if used.is_dev && below(&package.tier, tiers).contains(used_tier) => {}
                Some(used_tier) if !tier.may_use.contains(*used_tier) => flaws.push(format!(
                    "`{user}` ({}) uses `{used_name}` ({used_tier})",
                    package.tier
                )),
                None if !used.is_dev && tier.never.contains(used_name) => {
                    flaws.push(format!("`{user}` ({}) names `{used_name}`", package.tier));
                }
                _ => {}
            }
        }
    }
    flaws
}

/// Every tier that `tier` reaches along the arrows.
fn below<'t>(tier: &'t str, tiers: &'t BTreeMap<String, Tier>) -> BTreeSet<&'t str> {
    let mut found = BTreeSet::new();
    let mut open = vec![tier];
    while let Some(tier) = open.pop() {
        for next in tiers.get(tier).into_iter().flat_map(|t| &t.may_use) {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

/// Packages are `signet-FOLDER`, surfaces `signet-surface-FOLDER`, the command line `signet`.
fn name_flaw(package: &Package) -> Option<String> {
    let last = package.folder.rsplit('/').next().unwrap_or_default();
    let expected = match package.tier.as_str() {
        "cli" => "signet".to_owned(),
        "xtask" => "xtask".to_owned(),
        "surfaces" => format!("signet-surface-{last}"),
        _ => format!("signet-{last}"),
    };
    (package.name != expected).then(|| {
        format!(
            "`{}` lies in {}, where `{expected}` is expected",
            package.name, package.folder
        )
    })
}

/// Cryptography comes from one provider, and one crate names it. `tree` is what `cargo tree` prints, one package a
/// line: the lock file also lists what no chosen feature brings in.
fn provider_flaws(tree: &str, packages: &[Package]) -> Vec<String> {
    let built: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let mut flaws: Vec<String> = built
        .into_iter()
        .filter(|name| REFUSED.contains(name))
        .map(|name| format!("`{name}` is in the resolved tree; see `cargo tree -i {name}`"))
        .collect();
    let naming = packages
        .iter()
        .filter(|p| p.name != "signet-crypto" && p.uses.iter().any(|u| u.name.starts_with("aws-lc")));
    flaws.extend(naming.map(|p| format!("`{}` depends on aws-lc by name; only `signet-crypto` may", p.name)));
    flaws
}

/// Unsafe code and the provider's name stand where they may; lints are the workspace's.
fn source_flaws(root: &Path, package: &Package) -> Result<Vec<String>, Failure> {
    let dir = root.join(&package.folder);
    let mut flaws = Vec::new();
    let manifest = std::fs::read_to_string(dir.join("Cargo.toml"))?;
    let may_be_unsafe = package.folder == UNSAFE_FOLDER;
    let is_linted = if package.folder == GENERATED_FOLDER {
        manifest.contains("[lints.rust]\nunsafe_code = \"forbid\"")
    } else {
        manifest.contains("[lints]\nworkspace = true")
    };
    if !may_be_unsafe && !is_linted {
        flaws.push(format!("`{}` does not take the workspace's lints", package.name));
    }
    for file in files(&dir, ".rs")? {
        let text = std::fs::read_to_string(&file)?;
        let shown = file.strip_prefix(root).unwrap_or(&file).display();
        let is_test = file.starts_with(dir.join("tests"));
        for (n, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !may_be_unsafe && has_unsafe(code) && package.tier != "xtask" {
                flaws.push(format!("{shown}:{}: unsafe code", n + 1));
            }
            let names_provider = code.contains("aws_lc_rs") && package.tier != "xtask" && !is_test;
            if names_provider && !PROVIDER_FOLDERS.contains(&package.folder.as_str()) {
                flaws.push(format!("{shown}:{}: names aws_lc_rs", n + 1));
            }
        }
    }
    Ok(flaws)
}

fn has_unsafe(code: &str) -> bool {
    [
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
        "unsafe extern",
        "unsafe trait",
    ]
    .iter()
    .any(|form| code.contains(form))
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "text\n<!-- arrows -->\n\n| tier | may use | never names |\n|---|---|---|\n\
                         | `base` | `base` | `tokio`, `hyper` |\n| `formats` | `base`, `formats` | |\n\
                         | `cli` | `formats` | |\n\ntext | a | b |\n";

    fn package(folder: &str, name: &str, uses: &[(&str, bool)]) -> Package {
        Package {
            name: name.into(),
            folder: folder.into(),
            tier: tier_of(folder).into(),
            uses: uses
                .iter()
                .map(|(name, is_dev)| Use {
                    name: (*name).into(),
                    is_dev: *is_dev,
                })
                .collect(),
        }
    }

    #[test]
    fn the_table_is_read() {
        let tiers = tiers(TABLE).unwrap();
        assert_eq!(tiers.keys().collect::<Vec<_>>(), ["base", "cli", "formats"]);
        assert!(tiers["base"].never.contains("hyper") && tiers["formats"].never.is_empty());
        assert!(super::tiers("no table").is_err() && super::tiers("<!-- arrows -->\n").is_err());
    }

    #[test]
    fn arrows_that_are_not_allowed_are_found() {
        let packages = [
            package("crates/base/time", "signet-time", &[("signet-id", false)]),
            package(
                "crates/base/net",
                "signet-net",
                &[("tokio", false), ("hyper", true)],
            ),
            package(
                "crates/formats/id",
                "signet-id",
                &[("signet-time", false), ("tokio", false), ("signet-testkit", true)],
            ),
            package("crates/formats/b", "signet-b", &[("signet-testkit", false)]),
            package("crates/testkit", "signet-testkit", &[]),
            package(
                "crates/cli",
                "signet",
                &[("signet-time", true), ("signet-id", false)],
            ),
            package("crates/cli", "signet", &[("signet-time", false)]),
        ];
        assert_eq!(
            edge_flaws(&packages, &tiers(TABLE).unwrap()),
            [
                "`signet-time` (base) uses `signet-id` (formats)",
                "`signet-net` (base) names `tokio`",
                "`signet-b` (formats) uses `signet-testkit` (testkit)",
                "`signet-testkit`: the tier `testkit` has no row in the table",
                "`signet` (cli) uses `signet-time` (base)",
            ]
        );
    }

    #[test]
    fn names_follow_folders() {
        for (folder, name, is_right) in [
            ("crates/formats/id", "signet-id", true),
            ("crates/formats/id", "signet-ids", false),
            ("crates/surfaces/admin", "signet-surface-admin", true),
            ("crates/surfaces/admin", "signet-admin", false),
            ("crates/cli", "signet", true),
            ("tests/interop", "signet-interop", true),
        ] {
            assert_eq!(
                name_flaw(&package(folder, name, &[])).is_none(),
                is_right,
                "{folder}"
            );
        }
    }

    #[test]
    fn a_second_provider_is_found() {
        let tree = "serde v1.0.0\nring v0.17.14\nring v0.17.14 (*)\n";
        let packages = [package("crates/wire/tls", "signet-tls", &[("aws-lc-rs", false)])];
        let flaws = provider_flaws(tree, &packages);
        assert!(flaws.len() == 2 && flaws[0].contains("`ring`") && flaws[1].contains("signet-tls"));
    }

    #[test]
    fn the_workspace_is_as_its_architecture_says() {
        check(&crate::root()).unwrap();
    }
}
