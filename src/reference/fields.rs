//! The fields of a kind, from its definition.

use std::fmt::Display;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionVersion,
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::NOTICE;
use super::table::{code, codes, table, text};

const INTRODUCTION: &str = "Each object has a section, with its path; `[]` stands for each item of a list. What stands below \
Refusals are the sentences with which the API server refuses it. Unknown fields are refused, too, or left out, as the client \
asks (`kubectl --validate`).\n\n";

/// Longer defaults are left to the definition.
const MAX_DEFAULT: usize = 80;

/// An object of a schema, with the path to it.
type Object<'a> = (String, &'a JSONSchemaProps);

/// Returns the page of a kind.
pub(super) fn page(definition: &CustomResourceDefinition) -> String {
    let mut page = format!("# {}\n\n{NOTICE}\n\n", definition.spec.names.kind);
    for version in &definition.spec.versions {
        let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
        let Some(schema) = schema else { continue };
        page.push_str(&described(schema));
        page.push_str(&summary(definition, version));
        page.push_str(&columns(version.additional_printer_columns.as_deref().unwrap_or_default()));
        page.push_str(INTRODUCTION);
        let mut objects = Vec::new();
        for (name, member) in schema.properties.iter().flatten() {
            collect(name.clone(), member, &mut objects);
        }
        page.extend(objects.iter().map(section));
    }
    page.trim_end().to_owned() + "\n"
}

fn described(schema: &JSONSchemaProps) -> String {
    schema.description.as_deref().map(|words| format!("{}\n\n", text(words))).unwrap_or_default()
}

fn summary(definition: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> String {
    let names = &definition.spec.names;
    let list = |names: &Option<Vec<String>>| codes(names.iter().flatten().map(String::as_str));
    let selectable = version.selectable_fields.iter().flatten();
    let selectable = selectable.map(|field| field.json_path.trim_start_matches('.'));
    let rows = [
        ("apiVersion", code(&format!("{}/{}", definition.spec.group, version.name))),
        ("resource", code(&format!("{}.{}", names.plural, definition.spec.group))),
        ("short names", list(&names.short_names)),
        ("categories", list(&names.categories)),
        ("scope", definition.spec.scope.clone()),
        ("field selectors", codes(selectable)),
    ];
    let rows: Vec<_> = rows.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    table(["", ""], &rows.into_iter().map(|(name, value)| [name.to_owned(), value]).collect::<Vec<_>>())
}

fn columns(columns: &[CustomResourceColumnDefinition]) -> String {
    let row = |column: &CustomResourceColumnDefinition| {
        [
            column.name.clone(),
            code(column.json_path.trim_start_matches('.')),
            if column.priority.unwrap_or_default() > 0 { "`-o wide`" } else { "always" }.to_owned(),
            text(column.description.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = columns.iter().map(row).collect();
    let table = table(["column", "field", "shown", "meaning"], &rows);
    format!("## Columns of kubectl get\n\n{table}")
}

/// Collects the objects with members, each before those within it.
fn collect<'a>(path: String, schema: &'a JSONSchemaProps, objects: &mut Vec<Object<'a>>) {
    let Some(properties) = &schema.properties else { return };
    objects.push((path.clone(), schema));
    for (name, member) in properties {
        match items(member) {
            Some(items) => collect(format!("{path}.{name}[]"), items, objects),
            None => collect(format!("{path}.{name}"), member, objects),
        }
    }
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(items) => Some(items),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn section((path, schema): &Object<'_>) -> String {
    let required = schema.required.as_deref().unwrap_or_default();
    let row = |(name, member): (&String, &JSONSchemaProps)| {
        [
            code(name),
            code(&type_of(member)),
            if required.contains(name) { "yes" } else { "" }.to_owned(),
            default_of(member),
            bounds(member),
            text(member.description.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = schema.properties.iter().flatten().map(row).collect();
    let table = table(["field", "type", "required", "default", "bounds", "meaning"], &rows);
    format!("## {path}\n\n{}{table}{}", described(schema), refusals(schema))
}

fn type_of(schema: &JSONSchemaProps) -> String {
    let values = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        Some(JSONSchemaPropsOrBool::Bool(_)) | None => None,
    };
    match (items(schema), values) {
        (Some(items), _) => format!("[]{}", type_of(items)),
        (None, Some(values)) => format!("map[string]{}", type_of(values)),
        (None, None) => schema.type_.clone().unwrap_or_default(),
    }
}

fn default_of(schema: &JSONSchemaProps) -> String {
    let default = schema.default.as_ref().map(|default| default.0.to_string()).unwrap_or_default();
    if default.len() > MAX_DEFAULT { "as the definition has it".to_owned() } else { code(&default) }
}

/// What values may be.
fn bounds(schema: &JSONSchemaProps) -> String {
    let mut bounds = Vec::new();
    if let Some(values) = &schema.enum_ {
        let values: Vec<&str> = values.iter().filter_map(|value| value.0.as_str()).collect();
        bounds.push(codes(values));
    }
    bounds.extend(range(schema.minimum, schema.maximum, ""));
    bounds.extend(range(schema.min_length, schema.max_length, " characters"));
    bounds.extend(range(schema.min_items, schema.max_items, " items"));
    bounds.extend(range(schema.min_properties, schema.max_properties, " entries"));
    bounds.extend(schema.pattern.as_deref().map(code));
    if let Some(JSONSchemaPropsOrBool::Bool(false)) = schema.additional_properties {
        bounds.push("no members".to_owned());
    }
    // Items that are objects have a section of their own.
    let scalars = items(schema).filter(|items| items.properties.is_none()).map(self::bounds);
    bounds.extend(scalars.filter(|of| !of.is_empty()).map(|of| format!("each {of}")));
    bounds.join(", ")
}

fn range<T: Display + PartialEq>(from: Option<T>, to: Option<T>, unit: &str) -> Option<String> {
    match (from, to) {
        (Some(from), Some(to)) if from == to => Some(format!("{to}{unit}")),
        (Some(from), Some(to)) => Some(format!("{from} to {to}{unit}")),
        (Some(from), None) => Some(format!("at least {from}{unit}")),
        (None, Some(to)) => Some(format!("at most {to}{unit}")),
        (None, None) => None,
    }
}

/// The sentences with which an object is refused: of its fields, and of the object as a whole.
fn refusals(schema: &JSONSchemaProps) -> String {
    let mut refusals: Vec<(String, Vec<String>)> = Vec::new();
    let mut add = |message: &str, field: String| {
        let known = refusals.iter_mut().find(|(other, _)| other == message);
        match known {
            Some((_, fields)) if !fields.contains(&field) => fields.push(field),
            Some(_) => {}
            None => refusals.push((message.to_owned(), vec![field])),
        }
    };
    for (name, member) in schema.properties.iter().flatten() {
        // Those of objects stand in the objects' own sections.
        let scalars = [Some(member), items(member)].into_iter().flatten();
        for scalar in scalars.filter(|scalar| scalar.properties.is_none()) {
            let rules = scalar.x_kubernetes_validations.iter().flatten();
            rules.filter_map(|rule| rule.message.as_deref()).for_each(|message| add(message, code(name)));
        }
    }
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let field = rule.field_path.as_deref().map_or("", |path| path.trim_start_matches('.'));
        rule.message.iter().for_each(|message| add(message, code(field)));
    }
    if refusals.is_empty() {
        return String::new();
    }
    let line = |(message, fields): &(String, Vec<String>)| match fields.concat().is_empty() {
        true => format!("- {}\n", text(message)),
        false => format!("- {}: {}\n", fields.join(", "), text(message)),
    };
    format!("Refusals:\n\n{}\n", refusals.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn schema(schema: Value) -> JSONSchemaProps {
        serde_json::from_value(schema).unwrap()
    }

    #[test]
    fn types_and_bounds_are_those_of_the_schema() {
        let check = |json: Value, type_: &str, expected: &str| {
            let schema = schema(json);
            assert_eq!((type_of(&schema).as_str(), bounds(&schema).as_str()), (type_, expected));
        };
        check(json!({"type": "string", "enum": ["A", "B"]}), "string", "`A`, `B`");
        check(
            json!({"type": "string", "maxLength": 5, "pattern": "^a|b$"}),
            "string",
            "at most 5 characters, `^a\\|b$`",
        );
        check(json!({"type": "string", "minLength": 32, "maxLength": 32}), "string", "32 characters");
        check(json!({"type": "integer", "minimum": 2.0, "maximum": 3600.0}), "integer", "2 to 3600");
        let items = json!({"type": "string", "minLength": 1});
        let list = json!({"type": "array", "minItems": 1, "maxItems": 8, "items": items});
        check(list, "[]string", "1 to 8 items, each at least 1 characters");
        let labels =
            json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 16});
        check(labels, "map[string]string", "at most 16 entries");
        check(json!({"type": "object", "additionalProperties": false}), "object", "no members");
    }

    #[test]
    fn objects_within_objects_and_lists_have_sections_and_name_their_required_fields() {
        let issuer = json!({
            "type": "object", "description": "One.", "required": ["name"],
            "properties": {"name": {"type": "string", "description": "What it is called."}, "skew": {"type": "integer", "default": 1}},
        });
        let spec = schema(json!({
            "type": "object",
            "properties": {"issuers": {"type": "array", "items": issuer}, "free": {"type": "object"}},
        }));
        let mut objects = Vec::new();
        collect("spec".to_owned(), &spec, &mut objects);
        let paths: Vec<&str> = objects.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["spec", "spec.issuers[]"]);
        let expected = "## spec.issuers[]\n\nOne.\n\n\
             | field | type | required | default | bounds | meaning |\n|---|---|---|---|---|---|\n\
             | `name` | `string` | yes |  |  | What it is called. |\n| `skew` | `integer` |  | `1` |  |  |\n\n";
        assert_eq!(section(&objects[1]), expected);
    }

    #[test]
    fn a_sentence_that_refuses_several_fields_is_told_once() {
        let rules = |message: &str| json!([{"rule": "self != ''", "message": message}]);
        let object = schema(json!({
            "type": "object",
            "properties": {
                "a": {"type": "string", "x-kubernetes-validations": rules("it is empty")},
                "b": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": rules("it is empty")}},
                "c": {"type": "object", "properties": {}, "x-kubernetes-validations": rules("elsewhere")},
            },
            "x-kubernetes-validations": [
                {"rule": "true", "message": "name a or b"},
                {"rule": "true", "message": "it can't be changed", "fieldPath": ".a"},
            ],
        }));
        let expected = "Refusals:\n\n- `a`, `b`: it is empty\n- name a or b\n- `a`: it can't be changed\n\n";
        assert_eq!(refusals(&object), expected);
        assert_eq!(refusals(&schema(json!({"type": "object", "properties": {}}))), "");
    }
}
