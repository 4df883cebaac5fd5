//! Rows of figures beside what they have to hold and what another product showed.

use super::machine::Others;

/// What a figure has to be.
#[derive(Clone, Copy)]
pub(super) enum Hold {
    Below(f64),
    Above(f64),
    /// It is only told.
    Nothing,
}

/// One figure.
pub(super) struct Row {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    /// What belongs to it, in brackets behind it.
    pub(super) detail: String,
    pub(super) hold: Hold,
    /// Another product, and what it showed in the same unit.
    pub(super) peer: Option<(&'static str, f64)>,
}

impl Row {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            detail: String::new(),
            hold: Hold::Nothing,
            peer: None,
        }
    }

    pub(super) fn below(mut self, most: f64) -> Self {
        self.hold = Hold::Below(most);
        self
    }

    pub(super) fn above(mut self, least: f64) -> Self {
        self.hold = Hold::Above(least);
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn spire(self, value: f64) -> Self {
        self.peer("SPIRE", value)
    }

    pub(super) fn peer(mut self, name: &'static str, value: f64) -> Self {
        self.peer = Some((name, value));
        self
    }

    fn line(&self, others: &Others) -> String {
        let detail = if self.detail.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.detail)
        };
        let (hold, holds) = match self.hold {
            Hold::Below(most) => (
                format!("< {} {}", number(most), self.unit),
                told(self.value < most),
            ),
            Hold::Above(least) => (
                format!("> {} {}", number(least), self.unit),
                told(self.value > least),
            ),
            Hold::Nothing => (String::new(), ""),
        };
        let peer = self
            .peer
            .map(|(name, value)| format!("{name} {} {}", number(value), self.unit))
            .unwrap_or_default();
        format!(
            "| {} | {} {}{detail} | {hold} | {holds} | {peer} | {} | {}, {:.0} % |",
            self.what,
            number(self.value),
            self.unit,
            self.ratio(others),
            others.load,
            others.percent
        )
    }

    /// How many times better than the other one was; nothing where others used the machine.
    fn ratio(&self, others: &Others) -> String {
        let times = match (self.peer, self.hold) {
            (Some((_, theirs)), Hold::Above(_)) => self.value / theirs,
            (Some((_, theirs)), _) => theirs / self.value,
            (None, _) => return String::new(),
        };
        if others.are_quiet() {
            format!("{times:.1}")
        } else {
            "not told".to_owned()
        }
    }
}

fn told(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}

/// A table that is filled group by group.
#[derive(Default)]
pub(super) struct Table(Vec<String>);

impl Table {
    pub(super) fn add(&mut self, rows: &[Row], others: &Others) {
        self.0.extend(rows.iter().map(|row| row.line(others)));
    }

    /// What could not be measured, and why.
    pub(super) fn missing(&mut self, what: &str, why: &str) {
        let why = why.replace(['|', '\n'], " ");
        self.0.push(format!("| {what} | not measured: {why} | | | | | |"));
    }

    pub(super) fn print(&self) {
        println!(
            "| what | figure | to hold | holds | recorded of another | times better | load before, used by others |"
        );
        println!("|---|---|---|---|---|---|---|");
        for line in &self.0 {
            println!("{line}");
        }
    }
}

/// As many digits as say something, thousands apart.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size < 10.0 {
        let text = format!("{value:.3}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if size < 100.0 {
        return format!("{value:.1}").trim_end_matches(".0").to_owned();
    }
    let digits = format!("{:.0}", size);
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn others(percent: f64) -> Others {
        Others {
            load: "0.10".to_owned(),
            percent,
        }
    }

    #[test]
    fn numbers_have_as_many_digits_as_say_something() {
        let shown = [0.0, 0.0123, 0.3, 9.5, 12.34, 50.0, 4827.6, 1_000_000.0].map(number);
        assert_eq!(
            shown,
            ["0", "0.012", "0.3", "9.5", "12.3", "50", "4,828", "1,000,000"]
        );
    }

    #[test]
    fn a_row_says_whether_it_holds_and_how_it_compares() {
        let rate = Row::new("rate", 5_500.0, "/s")
            .above(5_000.0)
            .spire(1_000.0)
            .detail("p50 1 ms");
        assert_eq!(
            rate.line(&others(3.2)),
            "| rate | 5,500 /s (p50 1 ms) | > 5,000 /s | yes | SPIRE 1,000 /s | 5.5 | 0.10, 3 % |"
        );
        let time = Row::new("time", 0.5, "s").below(0.3).spire(5.0);
        assert!(
            time.line(&others(0.0))
                .contains("| < 0.3 s | no | SPIRE 5 s | 10.0 |")
        );
        assert!(
            time.line(&others(11.0)).contains("| not told |"),
            "others were busy"
        );
        assert!(
            Row::new("a", 1.0, "s")
                .line(&others(0.0))
                .contains("| a | 1 s |  |  |  |  |")
        );
    }
}
