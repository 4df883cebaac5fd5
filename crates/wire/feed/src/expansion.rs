//! Entries that are templates, for one process of this node.
//!
//! An agent only proposes: the server gives what its own knowledge of the node makes of the same facts, or nothing.

use crate::FeedEntry;
use bytes::Bytes;
use signet_crypto::digest::Sha256;
use signet_id::{ExpandError, IdPattern, IdTemplate, Selector, SpiffeId, TemplateFact};
use signet_proto::agent::v1::{self, issue_item::Wish};
use std::borrow::Cow;
use std::sync::Arc;

/// Which facts made an entry of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expansion {
    /// The name of the entry that is the template.
    pub entry: [u8; 16],
    /// The template, with what the server knows of the node filled in.
    pub template: IdTemplate,
    /// The facts of the process, each once.
    pub facts: Vec<(TemplateFact, String)>,
}

impl FeedEntry {
    /// Whether it stands for one entry for each set of facts.
    #[must_use]
    pub const fn is_template(&self) -> bool {
        self.spiffe_id.template().is_some()
    }

    /// The name of the entry as the server knows it.
    #[must_use]
    pub fn source(&self) -> [u8; 16] {
        self.expansion
            .as_ref()
            .map_or(self.id, |expansion| expansion.entry)
    }

    /// The entry for a process of which `found` is known: of a template what comes of its facts, under a name of its own;
    /// any other entry as it is.
    ///
    /// # Errors
    /// [`ExpandError`], where the process lacks a fact, or has none that can stand in an identity.
    pub fn for_process(self: &Arc<Self>, found: &[Selector]) -> Result<Arc<Self>, ExpandError> {
        let Some(template) = self.spiffe_id.template() else {
            return Ok(Arc::clone(self));
        };
        let mut facts: Vec<(TemplateFact, String)> = Vec::new();
        for fact in template.facts() {
            if facts.iter().all(|(one, _)| *one != fact) {
                facts.push((fact, fact.value_in(found)?.to_owned()));
            }
        }
        self.with_facts(template, facts).map(Arc::new)
    }

    /// What becomes of an entry that came of a template when the template's entry says `newer`. `None` where that gives
    /// these processes something else, or nothing.
    #[must_use]
    pub fn renewed(&self, newer: &Self) -> Option<Self> {
        let (expansion, template) = (self.expansion.as_ref()?, newer.spiffe_id.template()?);
        let known = |fact| expansion.facts.iter().any(|(one, _)| *one == fact);
        if expansion.entry != newer.id || !template.facts().all(known) {
            return None;
        }
        let facts = expansion.facts.iter();
        let facts = facts.filter(|(fact, _)| template.facts().any(|one| one == *fact));
        let renewed = newer.with_facts(template, facts.cloned().collect()).ok()?;
        (renewed.id == self.id).then_some(renewed)
    }

    fn with_facts(
        &self,
        template: &IdTemplate,
        facts: Vec<(TemplateFact, String)>,
    ) -> Result<Self, ExpandError> {
        let value_of = |fact: TemplateFact| {
            let known = facts.iter().find(|(one, _)| *one == fact);
            let value = known.map(|(_, value)| Cow::Borrowed(value.as_str()));
            value.ok_or_else(|| ExpandError::Missing {
                name: fact.name().into_owned(),
            })
        };
        let spiffe_id = template.expand(value_of)?;
        Ok(Self {
            id: name_of(&self.id, &spiffe_id),
            spiffe_id: IdPattern::One(spiffe_id),
            expansion: Some(Arc::new(Expansion {
                entry: self.id,
                template: template.clone(),
                facts,
            })),
            ..self.clone()
        })
    }

    /// What the server is asked for `wish` with.
    #[must_use]
    pub fn item(&self, wish: Wish) -> v1::IssueItem {
        let facts = self.expansion.iter().flat_map(|expansion| &expansion.facts);
        v1::IssueItem {
            entry_id: Bytes::copy_from_slice(&self.source()),
            facts: facts
                .map(|(fact, value)| v1::Fact {
                    name: fact.name().into_owned(),
                    value: value.clone(),
                })
                .collect(),
            // Whoever is told of a change later than the server would else be given what the entry gives by now.
            spiffe_id: self.spiffe_id.to_string(),
            wish: Some(wish),
        }
    }
}

/// The name of what `entry` gives as `id`: for agents alone, and the same in each. Names of entries begin with their age, so
/// that none is like it.
fn name_of(entry: &[u8; 16], id: &SpiffeId) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(entry);
    hash.update(id.as_str().as_bytes());
    let hash = hash.finish();
    hash.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(spiffe_id: &str) -> Arc<FeedEntry> {
        Arc::new(FeedEntry {
            selectors: vec![Selector::parse("unix:group:staff").unwrap()],
            ..FeedEntry::for_tests([7; 16], spiffe_id)
        })
    }

    fn found(list: &[&str]) -> Vec<Selector> {
        list.iter().map(|text| Selector::parse(text).unwrap()).collect()
    }

    const TEMPLATE: &str = "spiffe://a.test/host/x/user/{unix.user}/{unix.uid}/{unix.user}";

    #[test]
    fn each_set_of_facts_is_an_entry_of_its_own() {
        let template = entry(TEMPLATE);
        let ann = template
            .for_process(&found(&["unix:uid:7", "unix:user:ann"]))
            .unwrap();
        let bob = template
            .for_process(&found(&["unix:uid:8", "unix:user:bob"]))
            .unwrap();
        assert_eq!(ann.spiffe_id.as_str(), "spiffe://a.test/host/x/user/ann/7/ann");
        assert_eq!((ann.source(), bob.source()), ([7; 16], [7; 16]));
        assert!(ann.id != bob.id && ann.id != template.id);
        assert_eq!(ann.selectors, template.selectors);
        let again = template
            .for_process(&found(&["unix:uid:7", "unix:user:ann"]))
            .unwrap();
        assert_eq!(again, ann);
        let item = ann.item(Wish::Jwt(v1::JwtWish::default()));
        assert_eq!(item.entry_id, [7; 16].as_slice());
        assert_eq!(item.spiffe_id, ann.spiffe_id.to_string());
        let facts: Vec<_> = item
            .facts
            .iter()
            .map(|f| (f.name.as_str(), f.value.as_str()))
            .collect();
        assert_eq!(facts, [("unix.user", "ann"), ("unix.uid", "7")]);
    }

    #[test]
    fn an_entry_of_one_identity_is_itself_for_everybody() {
        let plain = entry("spiffe://a.test/w");
        let same = plain.for_process(&[]).unwrap();
        assert!(Arc::ptr_eq(&plain, &same));
        let item = plain.item(Wish::Jwt(v1::JwtWish::default()));
        assert_eq!(
            (item.facts.len(), item.spiffe_id.as_str()),
            (0, "spiffe://a.test/w")
        );
    }

    #[test]
    fn a_process_without_the_facts_gets_nothing() {
        let template = entry(TEMPLATE);
        for list in [
            &["unix:user:ann"][..],
            &["unix:uid:7", "unix:user:a/b"],
            &["unix:uid:7", "unix:user:.."],
            &["unix:uid:7", "unix:user:ann", "unix:user:bob"],
            &[],
        ] {
            assert!(template.for_process(&found(list)).is_err(), "{list:?}");
        }
        // What is the server's to know is no agent's.
        assert!(
            entry("spiffe://a.test/host/{node.id}")
                .for_process(&found(&["unix:uid:7"]))
                .is_err()
        );
    }

    #[test]
    fn a_new_form_of_the_template_keeps_who_stays_who_they_are() {
        let template = entry(TEMPLATE);
        let ann = template
            .for_process(&found(&["unix:uid:7", "unix:user:ann"]))
            .unwrap();
        let newer = FeedEntry {
            hint: "new".to_owned(),
            ..(*template).clone()
        };
        let renewed = ann.renewed(&newer).unwrap();
        assert_eq!((renewed.id, renewed.hint.as_str()), (ann.id, "new"));
        for other in [
            "spiffe://a.test/other/{unix.user}",
            "spiffe://a.test/w",
            "spiffe://a.test/host/{unix.gid}",
        ] {
            assert_eq!(ann.renewed(&entry(other)), None, "{other}");
        }
    }
}
