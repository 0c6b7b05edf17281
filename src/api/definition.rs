//! The definitions of the kinds, as a Kubernetes API server takes them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

use super::revocation::Revocation;
use super::token_revocation_list::TokenRevocationList;

/// Returns the definition of `Revocation`.
#[must_use]
pub fn revocation() -> CustomResourceDefinition {
    let mut definition = with_status(Revocation::crd());
    if let Some(target) =
        member(&mut definition, "spec").and_then(|spec| spec.properties.as_mut()?.get_mut("target"))
    {
        target.one_of = Some(one_member_or_none(target));
    }
    definition
}

/// Returns the definition of `TokenRevocationList`.
#[must_use]
pub fn token_revocation_list() -> CustomResourceDefinition {
    let mut definition = with_status(TokenRevocationList::crd());
    if let Some(spec) = member(&mut definition, "spec") {
        take_defaults_from_items(spec, false);
        take_unsigned_formats(spec);
    }
    definition
}

/// Gives new objects a status, with its defaults, so that whoever waits for a condition sees that it is still unknown.
fn with_status(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    if let Some(status) = member(&mut definition, "status") {
        status.default = Some(JSON(serde_json::json!({})));
        status.nullable = None;
    }
    definition
}

/// Refuses a second member also where it is null. CEL takes null for absent, so without this a template that left
/// `subject` empty beside a `client` would revoke the client. The sentence that refuses two values, or none, is CEL's.
fn one_member_or_none(target: &JSONSchemaProps) -> Vec<JSONSchemaProps> {
    let names = target.properties.iter().flat_map(|properties| properties.keys());
    let one = names
        .map(|name| JSONSchemaProps { required: Some(vec![name.clone()]), ..JSONSchemaProps::default() });
    one.chain([JSONSchemaProps { max_properties: Some(0), ..JSONSchemaProps::default() }]).collect()
}

/// Leaves defaults within items of lists to whoever reads them: `kubectl apply` compares such a list as a whole, and
/// would say that it has configured what it has not changed.
fn take_defaults_from_items(schema: &mut JSONSchemaProps, within_items: bool) {
    if within_items {
        schema.default = None;
    }
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        take_defaults_from_items(property, within_items);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        take_defaults_from_items(items, true);
    }
}

/// Takes the formats that are none of OpenAPI's: an API server of 1.37 warns of them. The numbers have their bounds.
fn take_unsigned_formats(schema: &mut JSONSchemaProps) {
    schema.format.take_if(|format| format.starts_with("uint"));
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        take_unsigned_formats(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        take_unsigned_formats(items);
    }
}

fn member<'a>(definition: &'a mut CustomResourceDefinition, name: &str) -> Option<&'a mut JSONSchemaProps> {
    let version = definition.spec.versions.first_mut()?;
    version.schema.as_mut()?.open_api_v3_schema.as_mut()?.properties.as_mut()?.get_mut(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An API server of 1.37 warns of formats that it does not know.
    #[test]
    fn no_format_is_one_that_an_api_server_does_not_know() {
        for definition in [revocation(), token_revocation_list()] {
            let text = serde_json::to_string(&definition).unwrap();
            let formats = text.split("\"format\":\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            formats.for_each(|format| assert!(["int32", "int64"].contains(&format), "{format}"));
        }
    }
}
