//! On which line of a YAML document a field is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Returns the line of a field's path like `spec.issuers[0].types`, or of the nearest object around it.
#[must_use]
pub fn line_of(document: &str, field: &str) -> u64 {
    line_at(document, field.split(['.', '[']).map(|segment| segment.trim_end_matches(']')))
}

/// The same for a path whose names may have dots.
pub fn line_at<'a>(document: &str, path: impl IntoIterator<Item = &'a str>) -> u64 {
    let Ok(tree) = serde_saphyr::from_str::<Tree>(document) else { return 1 };
    let mut line = 1;
    let mut node = &tree;
    for segment in path {
        let next = match node {
            Tree::Map(members) => members
                .iter()
                .find(|(name, _)| name.value == segment)
                .map(|(name, tree)| (name.referenced.line(), tree)),
            Tree::Seq(items) => segment
                .parse()
                .ok()
                .and_then(|index: usize| items.get(index))
                .map(|item| (item.referenced.line(), &item.value)),
            Tree::Leaf => None,
        };
        let Some((at, below)) = next else { return line };
        (line, node) = (at, below);
    }
    line
}

enum Tree {
    Map(Vec<(Spanned<String>, Tree)>),
    Seq(Vec<Spanned<Tree>>),
    Leaf,
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = map.next_entry()? {
            members.push(entry);
        }
        Ok(Tree::Map(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::Seq(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _: A) -> Result<Tree, A::Error> {
        Ok(Tree::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_line_and_an_unknown_one_to_the_object_around() {
        let text = "kind: A\nspec:\n  issuers:\n    - issuer: a\n    - issuer: b\n      types: [x]\n";
        let check = |field: &str, line| assert_eq!(line_of(text, field), line, "{field}");
        check("kind", 1);
        check("spec.issuers", 3);
        check("spec.issuers[1].issuer", 5);
        check("spec.issuers[1].types[0]", 6);
        check("spec.issuers[1].missing", 5);
        check("nothing", 1);
    }

    #[test]
    fn what_is_no_yaml_is_line_one() {
        assert_eq!(line_of("a: [", "a"), 1);
    }
}
