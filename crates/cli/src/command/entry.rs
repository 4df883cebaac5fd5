use crate::api::Api;
use crate::args::Global;
use crate::command::apply::Apply;
use crate::command::orphans::{self, Orphans};
use crate::error::ENTRY_FILE;
use crate::failure::Failure;
use crate::register::REGISTER;
use crate::{Outcome, clock, file, output, runtime, style};
use clap::Subcommand;
use core::time::Duration;
use serde::Serialize;
use signet_api::EntryDoc;
use signet_id::{Fact, IdPattern, Selector, SpiffeId, TrustDomain};
use signet_time::{UnixTime, format_duration, parse_duration};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `signet entry ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum Entry {
    /// Entitle the processes that show all of the selectors to an identity.
    Create(Create),
    /// All entries, those that match, or those that nobody needs any more.
    List(List),
    /// One entry.
    Show {
        /// The entry's id: 32 hexadecimal digits.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Change an entry; what is not named stays.
    Update(Update),
    /// Delete an entry, or all that nobody needs. Streams of the processes it entitled end at once.
    Delete(Delete),
    /// Make the entries those of a folder: shows what differs and applies all of it at once.
    Apply(Apply),
}

/// `signet entry create`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "signet entry create --spiffe-id <ID> --selector <K:V>... [OPTIONS]\n       \
                            signet entry create --file <FILE>"
)]
pub(crate) struct Create {
    /// The identity, such as spiffe://dev.test/billing/api, or a template such as
    /// 'spiffe://dev.test/host/{node.id}/user/{unix.user}'.
    #[arg(long, value_name = "ID", required_unless_present = "file")]
    spiffe_id: Option<IdPattern>,
    /// What must be true of a process, such as unix:uid:1000; all of those given.
    #[arg(long = "selector", value_name = "K:V", required_unless_present = "file")]
    selectors: Vec<Selector>,
    #[command(flatten)]
    wishes: Wishes,
    /// Create every entry of a file with one JSON document a line, or none of them; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = NOT_WITH_FILE)]
    file: Option<PathBuf>,
}

/// Everything that a file says itself.
const NOT_WITH_FILE: [&str; 11] = [
    "spiffe_id",
    "selectors",
    "parent",
    "x509_ttl",
    "jwt_ttl",
    "dns_names",
    "hint",
    "owner",
    "federates_with",
    "jwt_audiences",
    "expires",
];

/// `signet entry update`.
#[derive(Debug, clap::Args)]
pub(crate) struct Update {
    /// The entry's id: 32 hexadecimal digits.
    #[arg(value_name = "ID")]
    id: String,
    /// Another identity, or template of identities.
    #[arg(long, value_name = "ID")]
    spiffe_id: Option<IdPattern>,
    /// Other selectors, in place of all that there were.
    #[arg(long = "selector", value_name = "K:V")]
    selectors: Vec<Selector>,
    #[command(flatten)]
    wishes: Wishes,
}

/// The members of an entry that have defaults.
#[derive(Debug, Default, clap::Args)]
struct Wishes {
    /// Only on the node with this ID; `any` is every node, the default.
    #[arg(long, value_name = "ID", value_parser = parse_parent)]
    parent: Option<Wish<SpiffeId>>,
    /// Life of its certificates, such as 1h.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    x509_ttl: Option<Duration>,
    /// Life of its tokens, such as 5m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    jwt_ttl: Option<Duration>,
    /// A DNS name for its certificates; several times for several.
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// What the process is told to use this identity for.
    #[arg(long, value_name = "TEXT")]
    hint: Option<String>,
    /// Who answers for it.
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
    /// A foreign trust domain whose bundle it gets; several times for several.
    #[arg(long, value_name = "DOMAIN")]
    federates_with: Vec<TrustDomain>,
    /// The only audience its tokens may name; several times for several.
    #[arg(long = "jwt-audience", value_name = "AUDIENCE")]
    jwt_audiences: Vec<String>,
    /// When the entry ends: after a time such as 30d, at a moment such as 2027-01-31T00:00:00Z, or `never`.
    #[arg(long, value_name = "WHEN", value_parser = parse_expiry)]
    expires: Option<Expiry>,
}

/// `signet entry list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Those that give this identity, or are this template.
    #[arg(long, value_name = "ID", conflicts_with = "orphaned")]
    spiffe_id: Option<IdPattern>,
    /// Those that ask for this selector.
    #[arg(long, value_name = "K:V", conflicts_with = "orphaned")]
    selector: Option<Selector>,
    #[command(flatten)]
    orphans: Orphans,
    /// Those that this owner answers for.
    #[arg(long, value_name = "WHO")]
    owner: Option<String>,
}

/// `signet entry delete`.
#[derive(Debug, clap::Args)]
#[command(override_usage = "signet entry delete <ID>\n       \
                            signet entry delete --orphaned [--days <N>] [--owner <WHO>] [--dry-run]")]
pub(crate) struct Delete {
    /// The entry's id: 32 hexadecimal digits.
    #[arg(
        value_name = "ID",
        required_unless_present = "orphaned",
        conflicts_with_all = NOT_WITH_ID
    )]
    id: Option<String>,
    #[command(flatten)]
    orphans: Orphans,
    /// With --orphaned: only those that this owner answers for.
    #[arg(long, value_name = "WHO", requires = "orphaned")]
    owner: Option<String>,
    /// With --orphaned: say what would be deleted, and delete nothing.
    #[arg(long, requires = "orphaned")]
    dry_run: bool,
}

/// What is about orphans: an entry that is named goes whatever it is, and at once.
const NOT_WITH_ID: [&str; 4] = ["orphaned", "days", "owner", "dry_run"];

/// A value, or the default in its place.
#[derive(Clone, Debug)]
enum Wish<T> {
    Default,
    Value(T),
}

#[derive(Clone, Debug)]
enum Expiry {
    Never,
    After(Duration),
    At(UnixTime),
}

fn parse_parent(text: &str) -> Result<Wish<SpiffeId>, signet_id::IdError> {
    match text {
        "any" => Ok(Wish::Default),
        _ => SpiffeId::parse(text).map(Wish::Value),
    }
}

fn parse_expiry(text: &str) -> Result<Expiry, String> {
    if text == "never" {
        return Ok(Expiry::Never);
    }
    let after = parse_duration(text).map(Expiry::After);
    after
        .or_else(|_| UnixTime::parse_rfc3339(text).map(Expiry::At))
        .map_err(|_| {
            "write a time from now such as 30d, a moment such as 2027-01-31T00:00:00Z, or never".into()
        })
}

impl Wishes {
    /// Puts what was named into `doc`. An empty text takes the value away.
    fn apply(self, doc: &mut EntryDoc, now: UnixTime) {
        match self.parent {
            Some(Wish::Value(id)) => doc.parent_id = Some(id),
            Some(Wish::Default) => doc.parent_id = None,
            None => {}
        }
        doc.x509_ttl = self.x509_ttl.or(doc.x509_ttl);
        doc.jwt_ttl = self.jwt_ttl.or(doc.jwt_ttl);
        for (wish, member) in [(self.hint, &mut doc.hint), (self.owner, &mut doc.owner)] {
            if let Some(text) = wish {
                *member = Some(text).filter(|text| !text.is_empty());
            }
        }
        for (wish, member) in [
            (self.dns_names, &mut doc.dns_names),
            (self.jwt_audiences, &mut doc.jwt_audiences),
        ] {
            if !wish.is_empty() {
                *member = wish.into_iter().filter(|text| !text.is_empty()).collect();
            }
        }
        if !self.federates_with.is_empty() {
            doc.federates_with = self.federates_with;
        }
        match self.expires {
            Some(Expiry::Never) => doc.expires_at = None,
            Some(Expiry::After(time)) => doc.expires_at = Some((now + time).floor_secs()),
            Some(Expiry::At(time)) => doc.expires_at = Some(time),
            None => {}
        }
    }
}

impl Entry {
    pub(crate) fn run(self, global: &Global) -> Outcome {
        let api = Api::new(global)?;
        let format = global.output;
        match self {
            Self::Create(create) => create.run(&api, global),
            Self::List(list) if list.orphans.orphaned => {
                let orphans = runtime::client(list.orphans.fetch(&api, list.owner.as_deref()))?;
                output::result(format, &orphans.items, |_| orphans::overview(&orphans))
            }
            Self::List(list) => {
                let entries = runtime::client(list.fetch(&api))?;
                output::result(format, &entries, |entries| overview(entries))
            }
            Self::Show { id } => {
                let entry = runtime::client(api.entry(&id))?;
                output::result(format, &entry, shown)
            }
            Self::Update(update) => {
                let entry = runtime::client(update.send(&api))?;
                warn_of([&entry], &api);
                output::result(format, &entry, shown)
            }
            Self::Apply(apply) => apply.run(&api, format),
            Self::Delete(Delete { id: Some(id), .. }) => {
                runtime::client(api.delete_entry(&id))?;
                let deleted = Deleted { deleted: id };
                output::result(format, &deleted, |d| format!("deleted {}", d.deleted))
            }
            Self::Delete(delete) => {
                delete
                    .orphans
                    .delete(&api, delete.owner.as_deref(), delete.dry_run, format)
            }
        }
    }
}

/// What `delete` writes.
#[derive(Serialize)]
struct Deleted {
    deleted: String,
}

impl Create {
    fn run(self, api: &Api, global: &Global) -> Outcome {
        if let Some(path) = &self.file {
            let lines = lines_of(path)?;
            let made = runtime::client(api.create_entries(lines)).map_err(|refused| about(path, refused))?;
            warn_of(&made, api);
            return output::result(global.output, &made, |made| {
                format!("created {} entries", made.len())
            });
        }
        // The parser demands the ID where there is no file.
        let Some(id) = self.spiffe_id else { return Ok(()) };
        let mut doc = EntryDoc::new(id, self.selectors);
        self.wishes.apply(&mut doc, clock::system().now());
        let made = runtime::client(api.create_entry(&doc))?;
        warn_of([&made], api);
        output::result(global.output, &made, shown)
    }
}

/// What an administrator may have written by mistake, though it is taken.
pub(crate) fn warn_of<'a>(entries: impl IntoIterator<Item = &'a EntryDoc> + Clone, api: &Api) {
    warn_of_unknown_kinds(entries.clone());
    let parents = entries.into_iter().filter_map(|doc| doc.parent_id.as_ref());
    let parents: BTreeSet<&SpiffeId> = parents.collect();
    // The entries are made; that this could not be looked up is no failure of the command.
    for parent in runtime::client(unknown_nodes(parents, api)).unwrap_or_default() {
        output::warning(&format!(
            "no node is called `{parent}`: until one joins by that name, an entry with it as parent holds nowhere"
        ));
    }
}

/// Those of `parents` that are no node's name, a few of them at most.
async fn unknown_nodes(parents: BTreeSet<&SpiffeId>, api: &Api) -> Outcome<Vec<String>> {
    let mut unknown = Vec::new();
    let known: Option<BTreeSet<SpiffeId>> = match parents.len() {
        // A fleet has more nodes than these are questions.
        0..=ASKED_ONE_BY_ONE => None,
        _ => Some(api.nodes().await?.into_iter().map(|node| node.id).collect()),
    };
    for parent in parents {
        let is_known = match &known {
            Some(nodes) => nodes.contains(parent),
            None => match api.node(parent.as_str()).await {
                Ok(_) => true,
                Err(refused) if refused.code == NODE_UNKNOWN => false,
                Err(refused) => return Err(refused),
            },
        };
        if !is_known {
            unknown.push(parent.to_string());
        }
        if unknown.len() == UNKNOWN_SHOWN_MAX {
            break;
        }
    }
    Ok(unknown)
}

/// So many nodes are asked for by name; of more, the list is read.
const ASKED_ONE_BY_ONE: usize = 8;

/// So many names are warned of, one a line; who mends those sees the next.
const UNKNOWN_SHOWN_MAX: usize = 16;

/// What the server says of a node that is none.
const NODE_UNKNOWN: &str = "SGRG008";

/// Entries may ask for what only another version's attestors find; most often such a kind is a slip.
fn warn_of_unknown_kinds<'a>(entries: impl IntoIterator<Item = &'a EntryDoc>) {
    let selectors = entries.into_iter().flat_map(|doc| &doc.selectors);
    let kinds: BTreeSet<&str> = selectors
        .map(Selector::kind)
        .filter(|kind| !Fact::is_kind(kind))
        .collect();
    for kind in kinds {
        output::warning(&format!(
            "no attestor of this version finds selectors of kind `{kind}`: an entry that asks for one matches no process"
        ));
    }
}

/// A file of JSON lines, as it is; the server reads it.
fn lines_of(path: &Path) -> Outcome<Vec<u8>> {
    let lines = file::read_bytes(path, FILE_BYTES_MAX)?;
    if lines.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure {
            code: ENTRY_FILE.to_owned(),
            what: format!("`{}` holds no entry", path.display()),
            items: Vec::new(),
            next: "write one JSON document a line, such as {\"spiffe_id\": \"spiffe://dev.test/a\", \"selectors\": \
                   [\"unix:uid:1000\"]}"
                .to_owned(),
            is_usage: false,
        });
    }
    Ok(lines)
}

/// What the server said of the lines of the file `path`.
fn about(path: &Path, mut refused: Failure) -> Failure {
    if FAULTY_LINES.contains(&refused.code.as_str()) {
        refused.code = ENTRY_FILE.to_owned();
        refused.next = signet_fault::remedy_of(REGISTER, ENTRY_FILE).into_owned();
        refused.what = format!("`{}`: {}", path.display(), refused.what);
    }
    refused
}

/// What the server says of a body that it cannot read and of entries that it does not take: for the user of the
/// command, mistakes in the file.
const FAULTY_LINES: [&str; 2] = ["SGAD010", "SGAD011"];

/// The longest file of entries: far more than the entries that one request takes.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl List {
    async fn fetch(self, api: &Api) -> Outcome<Vec<EntryDoc>> {
        let mut query = Vec::new();
        if let Some(id) = &self.spiffe_id {
            query.push(("spiffe_id", id.as_str()));
        }
        if let Some(selector) = &self.selector {
            query.push(("selector", selector.as_str()));
        }
        if let Some(owner) = &self.owner {
            query.push(("owner", owner.as_str()));
        }
        api.entries(&query).await
    }
}

impl Update {
    async fn send(self, api: &Api) -> Outcome<EntryDoc> {
        let mut doc = api.entry(&self.id).await?;
        if let Some(id) = self.spiffe_id {
            doc.spiffe_id = id;
        }
        if !self.selectors.is_empty() {
            doc.selectors = self.selectors;
        }
        self.wishes.apply(&mut doc, clock::system().now());
        api.update_entry(&self.id, &doc).await
    }
}

fn overview(entries: &[EntryDoc]) -> String {
    if entries.is_empty() {
        return "no entries; make one with `signet entry create --spiffe-id ID --selector K:V`".to_owned();
    }
    // Most trust domains tie no entry to a node, and ids of nodes are long.
    let has_node = entries.iter().any(|doc| doc.parent_id.is_some());
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|doc| {
            let selectors: Vec<&str> = doc.selectors.iter().map(Selector::as_str).collect();
            let mut row = vec![
                doc.id.clone().unwrap_or_default(),
                doc.spiffe_id.to_string(),
                selectors.join(" "),
            ];
            row.extend(has_node.then(|| place(doc)));
            row
        })
        .collect();
    let head = ["ID", "SPIFFE ID", "SELECTORS", "ON"];
    let columns = if has_node { head.len() } else { head.len() - 1 };
    style::table(head.get(..columns).unwrap_or_default(), &rows)
}

/// On which nodes it holds.
fn place(doc: &EntryDoc) -> String {
    doc.parent_id
        .as_ref()
        .map_or_else(|| "every node".to_owned(), ToString::to_string)
}

fn shown(doc: &EntryDoc) -> String {
    let now = clock::system().now();
    let span = |time: Option<Duration>| time.map(format_duration).unwrap_or_default();
    let selectors: Vec<&str> = doc.selectors.iter().map(Selector::as_str).collect();
    let domains: Vec<&str> = doc.federates_with.iter().map(TrustDomain::as_str).collect();
    style::facts(&[
        ("id", doc.id.clone().unwrap_or_default()),
        ("spiffe id", doc.spiffe_id.to_string()),
        ("on", place(doc)),
        ("selectors", selectors.join(" ")),
        ("x509 ttl", span(doc.x509_ttl)),
        ("jwt ttl", span(doc.jwt_ttl)),
        ("dns names", doc.dns_names.join(" ")),
        ("hint", doc.hint.clone().unwrap_or_default()),
        ("owner", doc.owner.clone().unwrap_or_default()),
        ("federates", domains.join(" ")),
        ("audiences", doc.jwt_audiences.join(" ")),
        (
            "expires",
            doc.expires_at.map(|at| style::time(at, now)).unwrap_or_default(),
        ),
    ])
}
