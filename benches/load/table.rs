//! The table that comes out.

const HEAD: [&str; 6] = ["what", "fleet", "raw limit, same run", "ratio", "goal", ""];

/// One line: a figure beside its raw limit and its goal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    what: String,
    fleet: String,
    raw: String,
    ratio: String,
    goal: String,
    verdict: &'static str,
    note: String,
}

impl Row {
    pub(crate) fn new(what: impl Into<String>, fleet: impl Into<String>) -> Self {
        let (what, fleet) = (what.into(), fleet.into());
        Self { what, fleet, ..Self::default() }
    }

    pub(crate) fn raw(mut self, raw: impl Into<String>) -> Self {
        self.raw = raw.into();
        self
    }

    pub(crate) fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = format!("{ratio:.2}");
        self
    }

    pub(crate) fn goal(mut self, goal: impl Into<String>, reached: bool) -> Self {
        self.goal = goal.into();
        self.verdict = if reached { "ok" } else { "MISS" };
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn cells(&self) -> [&str; 6] {
        let Self { what, fleet, raw, ratio, goal, verdict, .. } = self;
        [what, fleet, raw, ratio, goal, verdict]
    }
}

/// All lines, as text.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut widths = HEAD.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row.cells()) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut text = String::new();
    let empty = HEAD.map(|_| "");
    line(&mut text, &HEAD, "notes", &widths, ' ');
    line(&mut text, &empty, "─────", &widths, '─');
    for row in rows {
        line(&mut text, &row.cells(), &row.note, &widths, ' ');
    }
    text
}

fn line(text: &mut String, cells: &[&str; 6], note: &str, widths: &[usize; 6], fill: char) {
    for (place, (cell, widest)) in cells.iter().zip(widths).enumerate() {
        let gap = std::iter::repeat_n(fill, widest - width(cell));
        // Words stand left and numbers right.
        if matches!(place, 1..=3) {
            text.extend(gap);
            text.push_str(cell);
        } else {
            text.push_str(cell);
            text.extend(gap);
        }
        text.push_str("  ");
    }
    text.push_str(note);
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A whole number with its thousands apart.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    if number <= -0.5 {
        text.push('-');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many a second.
pub(crate) fn rate(number: f64) -> String {
    thousands(number) + "/s"
}

/// Times, with one unit behind them.
pub(crate) fn milliseconds<const COUNT: usize>(numbers: [f64; COUNT]) -> String {
    let numbers = numbers.map(|number| match number {
        ..1.0 => format!("{number:.3}"),
        ..100.0 => format!("{number:.1}"),
        _ => thousands(number),
    });
    numbers.join(" / ") + " ms"
}
