/// The one of `known` that `name` was most likely meant to be, if any is near enough to be worth saying.
///
/// Near enough is at most one typing slip (a letter missing, added, changed or swapped) for every three letters.
/// Dashes and underscores are the same, and so are cases.
#[must_use]
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let fold = |text: &str| -> Vec<char> {
        text.chars()
            .take(CHARS_MAX)
            .map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() })
            .collect()
    };
    let name = fold(name);
    known
        .into_iter()
        .map(|candidate| (distance(&name, &fold(candidate)), candidate))
        .filter(|(slips, candidate)| *slips <= (candidate.len().max(name.len()) / 3).max(1))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// Names longer than this are compared by their beginning.
const CHARS_MAX: usize = 64;

/// Optimal string alignment distance: insertions, deletions, changes, and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let of = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (of(&last, j) + usize::from(x != y))
                .min(of(&last, j + 1) + 1)
                .min(of(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(of(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["address", "trust_domain", "seal", "data_dir"];
        for (typed, meant) in [
            ("adress", Some("address")),
            ("addresss", Some("address")),
            ("trust-domain", Some("trust_domain")),
            ("Trust_Domain", Some("trust_domain")),
            ("sael", Some("seal")),
            ("datadir", Some("data_dir")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), meant, "{typed}");
        }
    }

    #[test]
    fn distances() {
        let d = |a: &str, b: &str| distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>());
        assert_eq!((d("", ""), d("a", ""), d("", "ab")), (0, 1, 2));
        assert_eq!((d("ab", "ba"), d("kitten", "sitting")), (1, 3));
    }
}
