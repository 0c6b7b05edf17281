//! The definitions of our kinds: are they there, in use, and those that this program knows?

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps, JSONSchemaPropsOrArray,
};

use super::super::facts::Facts;
use super::super::finding::{Finding, some};
use crate::api::definition;

const CHECK: &str = "definitions";
const VERSION: &str = "v1alpha1";
const APPLY: &str = "kubectl apply --server-side -f crds/";

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    let look = |(name, read): &(&'static str, _)| match read {
        Ok(found) => judge(name, Option::as_ref(found)),
        Err(error) => Finding::unread(CHECK, error),
    };
    facts.definitions.iter().map(look).collect()
}

/// Returns the definition as this program knows it.
fn known(name: &str) -> CustomResourceDefinition {
    if name.starts_with("revocations") {
        definition::revocation()
    } else {
        definition::token_revocation_list()
    }
}

fn judge(name: &str, found: Option<&CustomResourceDefinition>) -> Finding {
    let failure = |seen: String| Finding::failure(CHECK, seen, APPLY);
    let Some(found) = found else { return failure(format!("{name} is not there")) };
    if found.metadata.deletion_timestamp.is_some() {
        return Finding::failure(
            CHECK,
            format!("{name} is being deleted, and with it every object of the kind"),
            format!(
                "apply it again when it is gone: {APPLY}; running controllers and sidecars go on denying"
            ),
        );
    }
    let conditions = found.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if !conditions.into_iter().any(|one| one.type_ == "Established" && one.status == "True") {
        return failure(format!("{name} is not established: the API server does not serve it yet"));
    }
    let Some(version) = found.spec.versions.iter().find(|version| version.name == VERSION && version.served)
    else {
        return failure(format!("{name} does not serve {VERSION}"));
    };
    let ours = known(name);
    let ours = ours.spec.versions.iter().find(|version| version.name == VERSION);
    match ours.and_then(|ours| difference(schema(ours)?, schema(version)?)) {
        None => Finding::ok(CHECK, format!("{name} is in use, {VERSION}, as this program knows it")),
        Some((seen, next)) => Finding::warning(CHECK, format!("{name} {seen}"), next),
    }
}

fn schema(version: &CustomResourceDefinitionVersion) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

/// Says how another schema differs from ours, and what to do. None if it does not.
fn difference(ours: &JSONSchemaProps, theirs: &JSONSchemaProps) -> Option<(String, String)> {
    if ours == theirs {
        return None;
    }
    let (mut known, mut found) = (BTreeSet::new(), BTreeSet::new());
    fields(ours, "", &mut known);
    fields(theirs, "", &mut found);
    let lacks: Vec<String> = known.difference(&found).cloned().collect();
    let has: Vec<String> = found.difference(&known).cloned().collect();
    let (seen, next) = match (lacks.is_empty(), has.is_empty()) {
        (false, true) => (format!("is older than this program: it lacks {}", some(&lacks)), APPLY.to_owned()),
        (true, false) => (
            format!("is newer than this program: it also has {}", some(&has)),
            "get the rescind that goes with the controllers".to_owned(),
        ),
        (false, false) => (
            format!("is another one: it lacks {}, and also has {}", some(&lacks), some(&has)),
            format!("if this program goes with the controllers: {APPLY}"),
        ),
        (true, true) => (
            "has the fields that this program knows, but other rules: it was edited, or is of another version".to_owned(),
            format!("if this program goes with the controllers: {APPLY}"),
        ),
    };
    Some((seen, next))
}

/// Notes the paths of all fields.
fn fields(schema: &JSONSchemaProps, path: &str, into: &mut BTreeSet<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields(property, &path, into);
        into.insert(path);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        fields(items, path, into);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinitionCondition, CustomResourceDefinitionStatus,
    };

    use super::super::super::finding::Level;
    use super::*;

    const NAME: &str = "revocations.rescind.dev";

    fn established() -> CustomResourceDefinition {
        let condition = CustomResourceDefinitionCondition {
            type_: "Established".to_owned(),
            status: "True".to_owned(),
            ..CustomResourceDefinitionCondition::default()
        };
        let status = CustomResourceDefinitionStatus {
            conditions: Some(vec![condition]),
            ..CustomResourceDefinitionStatus::default()
        };
        CustomResourceDefinition { status: Some(status), ..definition::revocation() }
    }

    fn spec(definition: &mut CustomResourceDefinition) -> &mut JSONSchemaProps {
        let schema = definition.spec.versions[0].schema.as_mut().unwrap();
        let root = schema.open_api_v3_schema.as_mut().unwrap();
        root.properties.as_mut().unwrap().get_mut("spec").unwrap()
    }

    fn check(change: impl FnOnce(&mut CustomResourceDefinition), level: Level, expected: &str) {
        let mut definition = established();
        change(&mut definition);
        let found = judge(NAME, Some(&definition));
        assert_eq!((found.level, found.seen.as_str()), (level, expected));
    }

    #[test]
    fn a_definition_that_is_missing_or_not_served_is_a_failure() {
        assert_eq!(judge(NAME, None), Finding::failure(CHECK, format!("{NAME} is not there"), APPLY));
        let not_yet = "revocations.rescind.dev is not established: the API server does not serve it yet";
        check(|definition| definition.status = None, Level::Failure, not_yet);
        let unserved = "revocations.rescind.dev does not serve v1alpha1";
        check(|definition| definition.spec.versions[0].served = false, Level::Failure, unserved);
        check(|_| (), Level::Ok, "revocations.rescind.dev is in use, v1alpha1, as this program knows it");
    }

    #[test]
    fn another_schema_is_told_by_its_fields() {
        let take = |definition: &mut CustomResourceDefinition| {
            spec(definition).properties.as_mut().unwrap().remove("message").unwrap();
        };
        let give = |definition: &mut CustomResourceDefinition| {
            let properties = spec(definition).properties.as_mut().unwrap();
            properties.insert("later".to_owned(), JSONSchemaProps::default());
        };
        let older = "revocations.rescind.dev is older than this program: it lacks spec.message";
        check(take, Level::Warning, older);
        let newer = "revocations.rescind.dev is newer than this program: it also has spec.later";
        check(give, Level::Warning, newer);
        let both = |definition: &mut CustomResourceDefinition| (take(definition), give(definition)).0;
        let another =
            "revocations.rescind.dev is another one: it lacks spec.message, and also has spec.later";
        check(both, Level::Warning, another);
        let edited = "revocations.rescind.dev has the fields that this program knows, but other rules: it was edited, \
                      or is of another version";
        check(|definition| spec(definition).x_kubernetes_validations = None, Level::Warning, edited);
    }
}
