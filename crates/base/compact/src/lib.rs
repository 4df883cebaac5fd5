//! Collections for millions of small things that each have a number.
//!
//! What is kept by the million lies in rows that its owner numbers with a `u32`, a *slot*. These collections hold
//! slots and nothing else, a few bytes for each; hash, equality and order of what a slot stands for are asked of the
//! owner with every call.
//!
//! * [`Index`] finds a slot by a hash.
//! * [`Texts`] keeps each text once, its beginning shared with others, for as long as somebody uses it.
//! * [`Sorted`] is a list of slots in the owner's order.
//!
//! All three give memory back when what they hold goes. None of them is for a handful of things: use the standard
//! library's there.

mod index;
mod sorted;
mod texts;

pub use index::Index;
pub use sorted::Sorted;
pub use texts::Texts;
