//! Lays texts out in columns, as `kubectl` does.

use super::console::printable;

/// Between two columns.
const GAP: usize = 3;

/// Writes a table. An empty cell shows as `-`, or one could not tell which column is missing.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let rows: Vec<[String; N]> =
        std::iter::once(&head).chain(rows).map(|row| row.each_ref().map(|text| cell(text))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let lines = rows.iter().map(|row| {
        let padded: String =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<0$}", width + GAP)).collect();
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
