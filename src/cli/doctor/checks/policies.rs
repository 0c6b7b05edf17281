//! The admission policies: are they there, bound, and those that this program was shipped with?

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicySpec,
};

use super::super::facts::Facts;
use super::super::finding::{Finding, some};
use super::super::shipped;

const CHECK: &str = "policies";
const APPLY: &str = "upgrade the chart, or kubectl apply -f examples/kubernetes/policies.yaml";

pub(in super::super) fn check(facts: &Facts) -> Vec<Finding> {
    match (&facts.policies, &facts.bindings) {
        (Ok(policies), Ok(bindings)) => judge(&shipped::policies(&facts.controllers), policies, bindings),
        (Err(error), _) | (_, Err(error)) => vec![Finding::unread(CHECK, error)],
    }
}

fn judge(
    shipped: &[ValidatingAdmissionPolicy],
    policies: &[ValidatingAdmissionPolicy],
    bindings: &[ValidatingAdmissionPolicyBinding],
) -> Vec<Finding> {
    let (mut missing, mut unbound, mut other) = (Vec::new(), Vec::new(), Vec::new());
    for ours in shipped {
        let name = ours.metadata.name.clone().unwrap_or_default();
        match policies.iter().find(|theirs| theirs.metadata.name == ours.metadata.name) {
            None => missing.push(name),
            Some(_) if !bindings.iter().any(|binding| denies(binding, &name)) => unbound.push(name),
            Some(theirs) if essence(theirs) != essence(ours) => other.push(name),
            Some(_) => {}
        }
    }
    let whole = shipped.len();
    let mut findings = Vec::new();
    if !missing.is_empty() {
        findings.push(Finding::warning(CHECK, format!("not there: {}", some(&missing)), APPLY));
    }
    if !unbound.is_empty() {
        let seen = format!("there, but no binding makes them deny: {}", some(&unbound));
        findings.push(Finding::warning(CHECK, seen, APPLY));
    }
    if !other.is_empty() {
        let seen = format!("other than those that this program was shipped with: {}", some(&other));
        findings.push(Finding::warning(CHECK, seen, format!("unless you have edited them: {APPLY}")));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("all {whole} are there and deny")));
    }
    findings
}

fn denies(binding: &ValidatingAdmissionPolicyBinding, policy: &str) -> bool {
    let spec = binding.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.policy_name.as_deref() == Some(policy)
            && spec.validation_actions.iter().flatten().any(|action| action == "Deny")
    })
}

/// What decides. The API server adds defaults to the rest.
fn essence(policy: &ValidatingAdmissionPolicy) -> Option<Vec<String>> {
    let ValidatingAdmissionPolicySpec {
        failure_policy,
        match_conditions,
        match_constraints,
        validations,
        variables,
        ..
    } = policy.spec.as_ref()?;
    let mut parts = vec![format!("on failure {}", failure_policy.as_deref().unwrap_or("Fail"))];
    for rule in match_constraints.iter().flat_map(|constraints| constraints.resource_rules.iter().flatten()) {
        parts.push(format!("{:?} {:?} {:?}", rule.api_groups, rule.operations, rule.resources));
    }
    parts.extend(match_conditions.iter().flatten().map(|condition| condition.expression.clone()));
    parts.extend(
        variables.iter().flatten().map(|variable| format!("{} = {}", variable.name, variable.expression)),
    );
    parts.extend(validations.iter().flatten().map(|validation| validation.expression.clone()));
    Some(parts)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBindingSpec;

    use super::*;

    fn bind(policy: &ValidatingAdmissionPolicy, action: &str) -> ValidatingAdmissionPolicyBinding {
        let spec = ValidatingAdmissionPolicyBindingSpec {
            policy_name: policy.metadata.name.clone(),
            validation_actions: Some(vec![action.to_owned()]),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        };
        ValidatingAdmissionPolicyBinding { spec: Some(spec), ..ValidatingAdmissionPolicyBinding::default() }
    }

    #[test]
    fn policies_that_are_missing_unbound_or_edited_are_named() {
        let shipped = shipped::policies("rescind-system");
        let mut bindings: Vec<_> = shipped.iter().map(|policy| bind(policy, "Deny")).collect();
        let good = judge(&shipped, &shipped, &bindings);
        assert_eq!(good, [Finding::ok(CHECK, format!("all {} are there and deny", shipped.len()))]);
        let names: Vec<_> = shipped.iter().map(|policy| policy.metadata.name.clone().unwrap()).collect();
        let mut policies = shipped.clone();
        policies.remove(0);
        bindings[1] = bind(&shipped[1], "Audit");
        let edited = policies[1].spec.as_mut().unwrap().validations.as_mut().unwrap();
        edited[0].expression = "true".to_owned();
        let seen: Vec<String> =
            judge(&shipped, &policies, &bindings).into_iter().map(|found| found.seen).collect();
        let expected = [
            format!("not there: {}", names[0]),
            format!("there, but no binding makes them deny: {}", names[1]),
            format!("other than those that this program was shipped with: {}", names[2]),
        ];
        assert_eq!(seen, expected);
    }
}
