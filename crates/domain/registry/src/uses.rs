//! When entries were used last: by the day, and beside the entries themselves.
//!
//! An entry is *used* on each day on which something is signed for it. What a server notes is kept in memory and written
//! in one go from time to time ([`crate::Registry::write_uses`]), so that an entry costs one written row a day however
//! much is signed. The rows lie in [`DRAWERS`] records of the change log, by the last bits of their ids, which are random:
//! a few used entries touch a few small records, and the records of a million stay below their bound.
//!
//! [`Watch`] says since when uses are known. A server that was away for a day cannot tell who would have used what
//! meanwhile, so it begins anew: nothing looks unused that nobody could have used.

use crate::{EntryId, records};
use bytes::Bytes;
use prost::Message as _;
use signet_store::Seq;
use signet_time::Day;
use std::collections::{BTreeMap, HashMap};

/// The days on which entries were used last, as they lie in the log.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    drawers: HashMap<u16, Drawer>,
    watch: Option<(Seq, Watch)>,
}

#[derive(Debug)]
struct Drawer {
    seq: Seq,
    /// Rows of an id and a day, by id.
    rows: Bytes,
}

/// Over which days uses were watched, without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(crate) since: Day,
    pub(crate) until: Day,
}

/// How many records there are at most. A power of two; part of their form.
const DRAWERS: u16 = 4_096;

const ROW_BYTES: usize = 18;

/// Rows of one record: 14 million used entries in all. Beyond that the ones that were used longest ago go.
pub(crate) const ROWS_MAX: usize = 3_600;

/// The key of the one [`Watch`].
pub(crate) const WATCH_KEY: &[u8] = &[0];

/// Which drawer `id` lies in.
pub(crate) fn drawer_of(id: EntryId) -> u16 {
    let [.., a, b] = *id.as_bytes();
    u16::from_be_bytes([a, b]) % DRAWERS
}

impl Uses {
    /// When `id` was used last.
    pub(crate) fn last(&self, id: EntryId) -> Option<Day> {
        let rows = &self.drawers.get(&drawer_of(id))?.rows;
        let (mut low, mut high) = (0, rows.len() / ROW_BYTES);
        while low < high {
            let middle = low.midpoint(high);
            let (found, day) = row(rows, middle)?;
            match found.cmp(&id) {
                core::cmp::Ordering::Equal => return Some(day),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    pub(crate) fn watch(&self) -> Option<Watch> {
        self.watch.map(|(_, watch)| watch)
    }

    /// The change that wrote the watch last.
    pub(crate) fn watch_seq(&self) -> Option<Seq> {
        self.watch.map(|(seq, _)| seq)
    }

    /// The change that wrote the record of `drawer` last.
    pub(crate) fn seq(&self, drawer: u16) -> Option<Seq> {
        self.drawers.get(&drawer).map(|drawer| drawer.seq)
    }

    /// The rows of `drawer` with `noted` among them, as a record. Those that `is_there` does not know are left out.
    pub(crate) fn merged(
        &self,
        drawer: u16,
        noted: &BTreeMap<EntryId, Day>,
        is_there: impl Fn(EntryId) -> bool,
    ) -> Bytes {
        let known = self.drawers.get(&drawer).map(|drawer| &drawer.rows);
        let known = known
            .into_iter()
            .flat_map(|rows| (0..).map_while(|n| row(rows, n)));
        let mut rows: BTreeMap<EntryId, Day> = known.collect();
        for (id, day) in noted {
            let last = rows.entry(*id).or_default();
            *last = (*last).max(*day);
        }
        rows.retain(|id, _| is_there(*id));
        if rows.len() > ROWS_MAX {
            let mut days: Vec<Day> = rows.values().copied().collect();
            days.sort_unstable();
            let first = days.get(days.len() - ROWS_MAX).copied().unwrap_or_default();
            rows.retain(|_, day| *day >= first);
            while rows.len() > ROWS_MAX {
                rows.pop_first();
            }
        }
        let mut uses = Vec::with_capacity(rows.len() * ROW_BYTES);
        for (id, day) in rows {
            uses.extend_from_slice(id.as_bytes());
            uses.extend_from_slice(&day.number().to_be_bytes());
        }
        records::EntryUses { uses: uses.into() }.encode_to_vec().into()
    }

    /// Takes in a record; `None` where it is not one that we would have written.
    pub(crate) fn put(&mut self, key: &[u8], seq: Seq, body: &[u8]) -> Option<()> {
        let drawer = u16::from_be_bytes(key.try_into().ok()?);
        let rows = records::EntryUses::decode(body).ok()?.uses;
        let ids = (0..).map_while(|n| row(&rows, n)).map(|(id, _)| id);
        let belongs = |id: EntryId| drawer_of(id) == drawer;
        if rows.len() % ROW_BYTES != 0 || !ids.clone().is_sorted_by(|a, b| a < b) || !ids.clone().all(belongs)
        {
            return None;
        }
        // Its own copy: what was read lies in a larger piece.
        let rows = Bytes::copy_from_slice(&rows);
        self.drawers.insert(drawer, Drawer { seq, rows });
        Some(())
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<()> {
        self.drawers.remove(&u16::from_be_bytes(key.try_into().ok()?));
        Some(())
    }

    pub(crate) fn put_watch(&mut self, seq: Seq, body: &[u8]) -> Option<()> {
        let record = records::UseWatch::decode(body).ok()?;
        let day = |number: u32| u16::try_from(number).ok().map(Day::from_number);
        let watch = Watch {
            since: day(record.since_day)?,
            until: day(record.until_day)?,
        };
        self.watch = Some((seq, watch));
        Some(())
    }

    pub(crate) fn remove_watch(&mut self) {
        self.watch = None;
    }
}

impl Watch {
    /// The watch that goes on `today`; `None` if nothing is new.
    pub(crate) fn on(before: Option<Self>, today: Day) -> Option<Self> {
        match before {
            // A clock that was set back changes nothing.
            Some(watch) if today <= watch.until => None,
            Some(watch) if today.since(watch.until) == 1 => Some(Self {
                until: today,
                ..watch
            }),
            // Nobody watched in between.
            _ => Some(Self {
                since: today,
                until: today,
            }),
        }
    }

    pub(crate) fn to_body(self) -> Bytes {
        let record = records::UseWatch {
            since_day: self.since.number().into(),
            until_day: self.until.number().into(),
        };
        record.encode_to_vec().into()
    }
}

/// The row `n` of `rows`.
fn row(rows: &[u8], n: usize) -> Option<(EntryId, Day)> {
    let row = rows
        .get(n.checked_mul(ROW_BYTES)?..)?
        .first_chunk::<ROW_BYTES>()?;
    let (id, day) = row.split_first_chunk::<16>()?;
    let day = u16::from_be_bytes(day.try_into().ok()?);
    Some((EntryId::from_bytes(*id), Day::from_number(day)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(drawer: u16, number: u16) -> EntryId {
        let mut bytes = [0; 16];
        bytes[6..8].copy_from_slice(&number.to_be_bytes());
        bytes[14..].copy_from_slice(&drawer.to_be_bytes());
        EntryId::from_bytes(bytes)
    }

    fn noted(days: &[(u16, u16)]) -> BTreeMap<EntryId, Day> {
        days.iter()
            .map(|(n, day)| (id(7, *n), Day::from_number(*day)))
            .collect()
    }

    fn written(uses: &mut Uses, days: &[(u16, u16)], is_there: impl Fn(EntryId) -> bool) {
        let body = uses.merged(7, &noted(days), is_there);
        uses.put(&7_u16.to_be_bytes(), Seq(1), &body).unwrap();
    }

    #[test]
    fn the_last_day_counts_and_entries_that_are_gone_do_not() {
        let mut uses = Uses::default();
        assert_eq!(uses.last(id(7, 1)), None);
        written(&mut uses, &[(1, 10), (2, 20), (3, 30)], |_| true);
        written(&mut uses, &[(1, 11), (2, 19), (4, 40)], |entry| entry != id(7, 3));
        let days = [1, 2, 3, 4, 5].map(|n| uses.last(id(7, n)).map(Day::number));
        assert_eq!(days, [Some(11), Some(20), None, Some(40), None]);
    }

    #[test]
    fn a_full_drawer_forgets_what_was_used_longest_ago() {
        let mut uses = Uses::default();
        let max = u16::try_from(ROWS_MAX).unwrap();
        let days: Vec<_> = (0..max + 3).map(|n| (n, n / 2)).collect();
        written(&mut uses, &days, |_| true);
        let known = (0..max + 3).filter(|n| uses.last(id(7, *n)).is_some());
        assert_eq!(known.collect::<Vec<_>>(), (3..max + 3).collect::<Vec<_>>());
        assert!(uses.merged(7, &noted(&[]), |_| true).len() < signet_store::BODY_BYTES_MAX);
    }

    #[test]
    fn what_no_server_would_have_written_is_refused() {
        let of = |rows: &[(EntryId, u16)]| {
            let rows = rows.iter().flat_map(|(id, day)| {
                let day = day.to_be_bytes();
                id.as_bytes().iter().copied().chain(day).collect::<Vec<_>>()
            });
            records::EntryUses {
                uses: rows.collect::<Vec<_>>().into(),
            }
            .encode_to_vec()
        };
        let mut uses = Uses::default();
        let key = 7_u16.to_be_bytes();
        assert!(
            uses.put(&key, Seq(1), &of(&[(id(7, 1), 1), (id(7, 2), 1)]))
                .is_some()
        );
        for bad in [
            of(&[(id(7, 2), 1), (id(7, 1), 1)]),
            of(&[(id(7, 1), 1), (id(7, 1), 1)]),
            of(&[(id(8, 1), 1)]),
            records::EntryUses {
                uses: vec![1; 17].into(),
            }
            .encode_to_vec(),
            vec![0xff],
        ] {
            assert!(uses.put(&key, Seq(1), &bad).is_none(), "{bad:?}");
        }
        assert!(uses.put(&[7], Seq(1), &[]).is_none(), "a key of another length");
    }

    #[test]
    fn a_day_that_nobody_watched_begins_the_watch_anew() {
        let day = Day::from_number;
        let watch = |since, until| Watch {
            since: day(since),
            until: day(until),
        };
        assert_eq!(Watch::on(None, day(5)), Some(watch(5, 5)));
        assert_eq!(Watch::on(Some(watch(3, 5)), day(5)), None);
        assert_eq!(Watch::on(Some(watch(3, 5)), day(4)), None);
        assert_eq!(Watch::on(Some(watch(3, 5)), day(6)), Some(watch(3, 6)));
        assert_eq!(Watch::on(Some(watch(3, 5)), day(7)), Some(watch(7, 7)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(key in any::<Vec<u8>>(), body in any::<Vec<u8>>()) {
            let mut uses = Uses::default();
            let _ = uses.put(&key, Seq(1), &body);
            let _ = uses.put_watch(Seq(1), &body);
            let _ = uses.last(id(7, 1));
        }
    }
}
