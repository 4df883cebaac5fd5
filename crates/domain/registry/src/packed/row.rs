use super::index;
use crate::EntryId;

/// No row, no text.
pub(super) const NONE: u32 = u32::MAX;

/// What is kept of each entry. Packed, because there are millions: fields are copied out, never borrowed.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
pub(super) struct Row {
    pub(super) id: EntryId,
    pub(super) seq: u64,
    pub(super) spiffe_id: u32,
    /// [`NONE`] for every node.
    pub(super) parent: u32,
    pub(super) details: u32,
    pub(super) asked: Asked,
    /// Which of its selectors has it in its list.
    pub(super) home: u8,
    /// The rows beside it in that list. In a free row, `next` is the next free one and `before` itself.
    pub(super) next: u32,
    pub(super) before: u32,
}

/// Where the selectors of a row stand in the pool.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed)]
pub(super) struct Asked {
    at: u32,
    count: u8,
}

/// The rows by slot.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    free: u32,
    taken: usize,
}

impl Default for Rows {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            free: NONE,
            taken: 0,
        }
    }
}

impl Rows {
    pub(super) fn reserve(&mut self, rows: usize) {
        self.rows.reserve_exact(rows.saturating_sub(self.rows.len()));
    }

    pub(super) fn add(&mut self, row: Row) -> Option<u32> {
        let slot = if let Some(free) = self.rows.get_mut(index(self.free)) {
            core::mem::replace(&mut self.free, core::mem::replace(free, row).next)
        } else {
            let slot = u32::try_from(self.rows.len()).ok().filter(|slot| *slot != NONE)?;
            self.rows.push(row);
            slot
        };
        self.taken += 1;
        Some(slot)
    }

    pub(super) fn free(&mut self, slot: u32) {
        let Some(row) = self.rows.get_mut(index(slot)) else {
            return;
        };
        (row.next, row.before) = (self.free, slot);
        self.free = slot;
        self.taken -= 1;
        if self.taken == 0 {
            *self = Self::default();
        }
    }

    /// The row of a slot that is taken.
    pub(super) fn get(&self, slot: u32) -> Option<Row> {
        self.rows.get(index(slot)).copied()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Row> {
        self.rows.get_mut(index(slot))
    }

    /// The id in a slot that is taken.
    pub(super) fn id(&self, slot: u32) -> EntryId {
        self.rows
            .get(index(slot))
            .map_or(EntryId::from_bytes([0; 16]), |row| row.id)
    }

    /// All rows that are taken.
    fn taken_mut(&mut self) -> impl Iterator<Item = &mut Row> {
        let slots = self.rows.iter_mut().enumerate();
        slots
            .filter(|(slot, row)| index(row.before) != *slot)
            .map(|(_, row)| row)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// The slots of the selectors of all rows, row after row.
#[derive(Debug, Default)]
pub(super) struct Pool {
    slots: Vec<u32>,
    /// How many of them belong to no row any more.
    garbage: usize,
}

/// So much garbage is never worth the work.
const GARBAGE_FINE: usize = 4 * 1024;

impl Pool {
    pub(super) fn add(&mut self, slots: &[u32]) -> Option<Asked> {
        let asked = Asked {
            at: u32::try_from(self.slots.len()).ok()?,
            count: u8::try_from(slots.len()).ok()?,
        };
        self.slots.extend_from_slice(slots);
        Some(asked)
    }

    pub(super) fn get(&self, asked: Asked) -> &[u32] {
        let from = index(asked.at);
        self.slots
            .get(from..from + usize::from(asked.count))
            .unwrap_or_default()
    }

    pub(super) fn free(&mut self, asked: Asked) {
        self.garbage += usize::from(asked.count);
    }

    pub(super) fn is_wasteful(&self) -> bool {
        self.garbage > GARBAGE_FINE && self.garbage > self.slots.len() / 2
    }

    /// Moves together what belongs to `rows`.
    pub(super) fn compact(&mut self, rows: &mut Rows) {
        let mut slots = Vec::with_capacity(self.slots.len() - self.garbage);
        for row in rows.taken_mut() {
            // Fits: there are fewer than before.
            let at = u32::try_from(slots.len()).unwrap_or(NONE);
            slots.extend_from_slice(self.get(row.asked));
            row.asked.at = at;
        }
        (self.slots, self.garbage) = (slots, 0);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }
}
