//! Tables in Markdown.

/// Writes a table; without rows there is none.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head = line(&head.map(str::to_owned));
    let rule = format!("|{}\n", "---|".repeat(N));
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{head}{rule}{rows}\n")
}

/// Writes words into a cell, or anywhere else.
pub(super) fn text(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

/// Writes something literal into a cell; nothing if there is nothing.
pub(super) fn code(literal: &str) -> String {
    if literal.is_empty() { String::new() } else { format!("`{}`", literal.replace('|', "\\|")) }
}

/// Writes several.
pub(super) fn codes<'a>(literals: impl IntoIterator<Item = &'a str>) -> String {
    literals.into_iter().map(code).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_head_a_rule_and_rows_and_none_if_it_has_no_rows() {
        let row = [code("a|b"), text("one |\n  <two>")];
        let expected = "| x | y |\n|---|---|\n| `a\\|b` | one \\| &lt;two> |\n\n";
        assert_eq!(table(["x", "y"], &[row]), expected);
        assert_eq!(table(["x", "y"], &[]), "");
        assert_eq!((code(""), codes(["a", "b"])), (String::new(), "`a`, `b`".to_owned()));
    }
}
