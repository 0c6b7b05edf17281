//! Lays texts out in columns, as `kubectl` does.

use super::console::printable;

/// Between two columns.
const GAP: usize = 3;

/// Writes a table; every row has a cell per column. An empty one shows as `-`, or one could not tell which column is
/// missing.
pub(super) fn table<'a>(head: impl AsRef<[&'a str]>, rows: &[impl AsRef<[String]>]) -> String {
    let head: Vec<String> = head.as_ref().iter().map(|text| cell(text)).collect();
    let rows = rows.iter().map(|row| row.as_ref().iter().map(|text| cell(text)).collect());
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let padded: String =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<0$}", width + GAP)).collect();
        format!("{}\n", padded.trim_end())
    });
    lines.collect()
}

fn cell(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { printable(text).replace('\n', "\\n") }
}

/// Shortens a text to so many characters.
pub(super) fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "Zoë".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(table(["NAME", "B"], &rows), "NAME     B\na        Zoë\nlonger   -\n");
    }

    #[test]
    fn a_row_stays_one_line() {
        assert_eq!(table(["A"], &[["x\ny\u{7}".to_owned()]]), "A\nx\\ny\\u{7}\n");
    }

    #[test]
    fn long_texts_are_shortened_by_characters() {
        assert_eq!(shorten("ääää", 4), "ääää");
        assert_eq!(shorten("äääää", 4), "äää…");
    }
}
