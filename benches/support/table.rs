//! The table that a run ends with.

/// One ratio of two things that were measured in one run.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) beside: String,
    pub(crate) ratio: Option<f64>,
    /// The largest ratio that is good enough; none where nothing was promised.
    pub(crate) aim: Option<f64>,
}

/// Writes the rows as a Markdown table.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from("| what | ours | beside | ratio | aim | met |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), short);
        let aim = row.aim.map_or_else(|| "-".to_owned(), |aim| format!("<= {aim}"));
        let met = match (row.ratio, row.aim) {
            (Some(ratio), Some(aim)) if ratio <= aim => "yes",
            (Some(_), Some(_)) => "no",
            _ => "-",
        };
        let Row { what, ours, beside, .. } = row;
        text.push_str(&format!("| {what} | {ours} | {beside} | {ratio} | {aim} | {met} |\n"));
    }
    text
}

/// Writes a number with three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        0.0..0.1 => format!("{value:.4}"),
        0.1..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Writes a time.
pub(crate) fn nanos(nanos: f64) -> String {
    match nanos {
        0.0..1e3 => format!("{} ns", short(nanos)),
        1e3..1e6 => format!("{} us", short(nanos / 1e3)),
        _ => format!("{} ms", short(nanos / 1e6)),
    }
}
