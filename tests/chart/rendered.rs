//! What the chart renders, as text that is kept, and what must hold for whatever it renders.

use serde_json::{Value, json};

use crate::helm::{done, helm, objects, one, read, render};

/// The files of values that the tests go through, with what they are called.
pub(crate) const VALUES: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("ha", &["--values=charts/rescind/values-ha.yaml"]),
    ("minimal", &["--values=charts/rescind/values-minimal.yaml"]),
    ("all_on", &["--values=tests/chart/all-on.yaml"]),
];

/// The definitions and policies are compared with their sources elsewhere, and long.
const SHORT: [&str; 6] = [
    "--set=crds.enabled=false",
    "--set=policies.wideTargets=false",
    "--set=policies.internalObjects=false",
    "--set=policies.status=false",
    "--set=policies.declared=false",
    "--set=policies.keepDefinitions=false",
];

#[test]
fn what_is_rendered_is_what_was_rendered() {
    for (name, values) in VALUES {
        // The files are tested by themselves.
        let text = render("rescind", &[values, &SHORT].concat());
        let text = text.split("\n---\n").filter(|document| !document.contains("rescind-dashboard\n"));
        insta::assert_snapshot!(name, text.collect::<Vec<_>>().join("\n---\n"));
    }
}

#[test]
fn helm_finds_nothing_wrong_with_the_chart() {
    for (name, values) in VALUES {
        let said = done(&helm(None, &[&["lint", "--strict", "--quiet", "charts/rescind"], values].concat()));
        assert!(!said.contains("[WARNING]") && !said.contains("[ERROR]"), "{name}: {said}");
    }
}

/// What is packaged needs nothing of the repository.
#[test]
fn the_package_renders_what_the_folder_renders() {
    let folder = tempfile::tempdir().unwrap();
    let destination = format!("--destination={}", folder.path().display());
    done(&helm(None, &["package", "charts/rescind", &destination]));
    let package = folder.path().join("rescind-0.1.0.tgz").display().to_string();
    let from_package = done(&helm(None, &["template", "rescind", &package, "--namespace=rescind-system"]));
    assert!(from_package == render("rescind", &[]), "the package renders something else");
}

#[test]
fn the_version_is_that_of_the_programs() {
    let chart = crate::helm::yaml(&crate::helm::read_chart("Chart.yaml"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let images = chart["annotations"]["artifacthub.io/images"].as_str().unwrap();
    for image in ["rescind-controller", "rescind-sidecar", "rescind-cli"] {
        assert!(images.contains(&format!("image: {image}:{}\n", env!("CARGO_PKG_VERSION"))), "{images}");
    }
}

/// The rules of roles are those of the examples, with which the tests run controllers.
#[test]
fn the_rights_are_those_of_the_examples() {
    let rendered = objects(&render("rescind", &[]));
    let mut roles = 0;
    for example in objects(&read("examples/kubernetes/rbac.yaml")) {
        let (kind, name) = (example["kind"].as_str().unwrap(), example["metadata"]["name"].as_str().unwrap());
        let ours = one(&rendered, kind, name);
        for part in ["rules", "roleRef", "subjects"] {
            assert_eq!(ours.get(part), example.get(part), "{part} of {kind} {name}");
        }
        roles += usize::from(example.get("rules").is_some());
    }
    let kinds = ["ClusterRole", "Role"];
    let ours = rendered.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind));
    let ours = ours.filter(|object| object["metadata"]["name"] != "rescind-test");
    assert_eq!(ours.count(), roles, "the chart has a role that no example has");
}

#[test]
fn the_policies_are_those_of_the_examples() {
    let rendered = objects(&render("rescind", &[]));
    for example in objects(&read("examples/kubernetes/policies.yaml")) {
/// Whoever reviews a role asks of each line what it is for.
#[test]
fn each_right_has_its_reason_above_it() {
    let mut files = vec!["examples/kubernetes/rbac.yaml".to_owned()];
    for entry in std::fs::read_dir(crate::helm::in_project("charts/rescind/templates/tests")).unwrap() {
        files.push(format!("charts/rescind/templates/tests/{}", entry.unwrap().file_name().display()));
    }
    let (mut rights, mut without) = (0, Vec::new());
    for file in files {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, pair) in (2..).zip(lines.windows(2)) {
            if pair[1].starts_with("- apiGroups:") {
                rights += 1;
                if !pair[0].starts_with("# ") {
                    without.push(format!("{file}:{number}"));
                }
            }
        }
    }
    assert!(
        rights > 15 && without.is_empty(),
        "{rights} rights; without a comment directly above: {without:#?}"
    );
}

        let (kind, name) = (example["kind"].as_str().unwrap(), example["metadata"]["name"].as_str().unwrap());
        assert_eq!(one(&rendered, kind, name)["spec"], example["spec"], "{kind} {name}");
    }
}

#[test]
fn every_policy_can_be_left_out() {
    let text = render("rescind", &SHORT);
    assert!(!text.contains("kind: ValidatingAdmissionPolicy"), "a policy is left");
}

/// The definitions are those of `crds/`, but for the labels, and for whether they stay.
#[test]
fn the_definitions_are_those_of_the_repository() {
    for (keep, annotations) in [
        (true, json!({"helm.sh/resource-policy": "keep"})),
        (false, json!({"rescind.dev/allow-deletion": "true"})),
    ] {
        let rendered = objects(&render("rescind", &[&format!("--set=crds.keep={keep}")]));
        for file in ["crds/revocations.yaml", "crds/tokenrevocationlists.yaml"] {
            let example = crate::helm::yaml(&read(file));
            let ours =
                one(&rendered, "CustomResourceDefinition", example["metadata"]["name"].as_str().unwrap());
            assert_eq!(ours["spec"], example["spec"], "{file}");
            assert_eq!(ours["metadata"]["annotations"], annotations);
            assert_eq!(ours["metadata"]["labels"]["app.kubernetes.io/instance"], "rescind");
        }
    }
}

/// Another namespace reaches the policies, the rights and the injection.
#[test]
fn nothing_names_a_namespace_that_is_not_the_releases() {
    let text = done(&helm(None, &["template", "rescind", "charts/rescind", "--namespace=elsewhere"]));
    let named: Vec<&str> = text.lines().filter(|line| line.contains("rescind-system")).collect();
    assert!(named.is_empty(), "{named:#?}");
    assert!(text.contains("'system:serviceaccount:elsewhere:rescind-controller'"));
    assert!(text.contains("https://rescind-controller.elsewhere.svc:7401"));
}

/// The longest name that Helm takes for a release.
#[test]
fn no_name_and_no_label_is_too_long() {
    let release = "r".repeat(53);
    for (_, values) in VALUES {
        for object in objects(&render(&release, values)) {
            let metadata = &object["metadata"];
            let name = metadata["name"].as_str().unwrap();
            assert!(name.len() <= 63, "{name}");
            for (label, value) in metadata["labels"].as_object().unwrap() {
                assert!(value.as_str().unwrap().len() <= 63, "{label}: {value}");
            }
        }
    }
}

/// The checksum of the settings is in the pods, so that a change starts them anew; and only such a change.
#[test]
fn other_settings_of_the_injection_start_the_controllers_anew() {
    let template = |values: &[&str]| {
        one(&objects(&render("rescind", values)), "Deployment", "rescind-controller")["spec"]["template"]
            .clone()
    };
    assert_ne!(template(&[]), template(&["--set=injection.logLevel=debug"]));
    assert_eq!(template(&[]), template(&["--set=injection.failurePolicy=Fail"]));
}

#[test]
fn a_digest_takes_the_place_of_the_version() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let arguments = [
        &format!("--set=image.sidecar.digest={digest}")[..],
        "--set=image.registry=registry.example.com/security/",
    ];
    let objects = objects(&render("rescind", &arguments));
    let settings =
        one(&objects, "ConfigMap", "rescind-injection")["data"]["injection.yaml"].as_str().unwrap();
    let sidecar = format!("registry.example.com/security/rescind-sidecar@{digest}");
    assert_eq!(crate::helm::yaml(settings)["image"], json!(sidecar));
    let controller =
        &one(&objects, "Deployment", "rescind-controller")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(controller["image"], "registry.example.com/security/rescind-controller:0.1.0");
}

/// The pods that the chart makes: of the controllers, and of the test.
pub(crate) fn pods(objects: &[Value]) -> Vec<Value> {
    let deployment = one(objects, "Deployment", "rescind-controller");
    let template = &deployment["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = json!("rescind-controller-x");
    metadata["namespace"] = deployment["metadata"]["namespace"].clone();
    let controller =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"].clone()});
    vec![controller, one(objects, "Pod", "rescind-test").clone()]
}

#[test]
fn the_notes_say_what_comes_next_and_what_uninstalling_does() {
    let arguments =
        ["install", "rescind", "charts/rescind", "--namespace=rescind-system", "--dry-run=client"];
    let text = done(&helm(None, &arguments));
    insta::assert_snapshot!("notes", text.split("NOTES:\n").nth(1).unwrap());
}
