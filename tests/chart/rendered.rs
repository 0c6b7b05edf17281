//! What the chart renders, as text that is kept, and what must hold for whatever it renders.

use std::collections::BTreeSet;

use clap::{Args, Command, FromArgMatches};
use rescind::controller::args::ControllerArgs;
use rescind::injection::pod::{Asks, Outcome, Place, inject};
use rescind::injection::settings::Settings;
use rescind::process::LogArgs;
use rescind::sidecar::args::SidecarArgs;
use serde_json::{Value, json};

use crate::helm::{done, helm, objects, one, read, refused, render};

/// The files of values that the tests go through, with what they are called.
pub(crate) const VALUES: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("ha", &["--values=charts/rescind/values-ha.yaml"]),
    ("minimal", &["--values=charts/rescind/values-minimal.yaml"]),
    ("all_on", &["--values=tests/chart/all-on.yaml"]),
];

/// The definitions and policies are compared with their sources elsewhere, and long.
const SHORT: [&str; 7] = [
    "--set=crds.enabled=false",
    "--set=policies.wideTargets=false",
    "--set=policies.internalObjects=false",
    "--set=policies.status=false",
    "--set=policies.declared=false",
    "--set=policies.revokedBy=false",
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

/// Which pods are injected, and what happens while nobody answers, is the same for those who install without the chart.
#[test]
fn the_webhook_is_that_of_the_examples() {
    let example = objects(&read("examples/kubernetes/injector.yaml")).remove(0);
    let rendered = objects(&render("rescind", &[]));
    let ours = one(&rendered, "MutatingWebhookConfiguration", "rescind-injector");
    let sorted = |configuration: &Value| {
        let mut webhooks = configuration["webhooks"].as_array().unwrap().clone();
        for webhook in &mut webhooks {
            for selector in ["namespaceSelector", "objectSelector"] {
                let expressions = webhook[selector]["matchExpressions"].as_array_mut().unwrap();
                // All of them must fit, in any order.
                expressions.sort_by_key(ToString::to_string);
            }
        }
        webhooks
    };
    assert_eq!(sorted(ours), sorted(&example), "left: the chart; right: examples/kubernetes/injector.yaml");
}

/// What is tested of one is so of the other.
#[test]
fn the_quota_is_that_of_the_examples() {
    let example = objects(&read("examples/kubernetes/quota.yaml")).remove(0);
    let rendered = objects(&render("rescind", &["--set=quota.namespaces={shop}"]));
    let ours = one(&rendered, "ResourceQuota", "rescind-revocations");
    assert_eq!(ours["spec"], example["spec"], "left: the chart; right: examples/kubernetes/quota.yaml");
    assert_eq!(ours["metadata"]["namespace"], example["metadata"]["namespace"]);
}

/// Otherwise nobody would, and pods would wait for the ConfigMap.
#[test]
fn authorities_of_given_certificates_are_published_unless_something_else_does() {
    let publishes = |values: &[&str]| {
        let rendered = objects(&render("rescind", values));
        let deployment = one(&rendered, "Deployment", "rescind-controller");
        let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
        arguments.as_array().unwrap().contains(&json!("--tls-publish-ca=/etc/rescind/tls/ca.crt"))
    };
    assert!(!publishes(&[]), "the controllers' own authority needs no file");
    let secret = ["--set=tls.source=secret", "--set=tls.secretName=given"];
    assert!(publishes(&["--set=tls.source=certManager"]) && publishes(&secret));
    assert!(!publishes(&[&secret[..], &["--set=tls.publishAuthority=false"]].concat()));
}

/// The API server verifies `rescind-webhook.<namespace>.svc`, whatever the values say.
#[test]
fn certificates_are_good_for_what_the_api_server_calls() {
    let names = |values: &[&str]| {
        let values = [&["--set=tls.source=certManager"], values].concat();
        let rendered = objects(&render("rescind", &values));
        let names = one(&rendered, "Certificate", "rescind-controller-tls")["spec"]["dnsNames"].clone();
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let of = |domains: &[&str]| {
        let services = ["rescind-controller", "rescind-admin", "rescind-webhook"].iter();
        services
            .flat_map(|service| domains.iter().map(move |domain| format!("{service}.{domain}")))
            .collect::<Vec<String>>()
    };
    assert_eq!(names(&[]), of(&["rescind-system.svc", "rescind-system.svc.cluster.local"]), "each once");
    let domains = ["rescind.example", "rescind.example.cluster.local", "rescind-system.svc"];
    assert_eq!(names(&["--set=tls.serviceDomain=rescind.example"]), of(&domains));
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

#[test]
fn the_policies_are_those_of_the_examples() {
    let rendered = objects(&render("rescind", &[]));
    for example in objects(&read("examples/kubernetes/policies.yaml")) {
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
        &format!("--set=image.sidecar.digest={digest},image.cli.digest={digest}")[..],
        "--set=image.registry=registry.example.com/security/",
    ];
    let objects = objects(&render("rescind", &arguments));
    let settings =
        one(&objects, "ConfigMap", "rescind-injection")["data"]["injection.yaml"].as_str().unwrap();
    let sidecar = format!("registry.example.com/security/rescind-sidecar@{digest}");
    assert_eq!(crate::helm::yaml(settings)["image"], json!(sidecar));
    let command_line = &one(&objects, "Pod", "rescind-test")["spec"]["containers"][0]["image"];
    assert_eq!(*command_line, format!("registry.example.com/security/rescind-cli@{digest}"));
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

/// On nodes with taints, `helm test` would wait for ever.
#[test]
fn every_pod_has_what_the_values_say_of_pods() {
    let values = crate::helm::yaml(&read("tests/chart/all-on.yaml"));
    let objects = objects(&render("rescind", &["--values=tests/chart/all-on.yaml"]));
    let (controller, pods) = (&values["controller"], pods(&objects));
    assert_eq!(
        pods.len(),
        objects.iter().filter(|object| object["spec"].to_string().contains("\"containers\":")).count()
    );
    for pod in pods {
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        let name = &metadata["name"];
        for (ours, theirs) in [
            (&values["labels"], "labels"),
            (&controller["podLabels"], "labels"),
            (&values["annotations"], "annotations"),
            (&controller["podAnnotations"], "annotations"),
        ] {
            for (key, value) in ours.as_object().unwrap() {
                assert_eq!(metadata[theirs][key], *value, "{theirs} of {name}");
            }
        }
        for part in ["priorityClassName", "nodeSelector", "tolerations"] {
            assert_eq!(spec[part], controller[part], "{part} of {name}");
        }
        assert_eq!(spec["affinity"]["nodeAffinity"], controller["affinity"]["nodeAffinity"], "{name}");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]), "{name}");
        let containers = ["initContainers", "containers"].map(|member| spec[member].as_array());
        for container in containers.into_iter().flatten().flatten() {
            let image = container["image"].as_str().unwrap();
            let registry = values["image"]["registry"].as_str().unwrap();
            assert!(image.starts_with(registry) && image.contains("@sha256:"), "{name}: {image}");
        }
    }
}

/// The chart and the programs are of one version.
#[test]
fn the_programs_know_the_arguments_that_their_containers_have() {
    let arguments = |container: &Value| -> Vec<String> {
        let all = container["args"].as_array().unwrap().iter();
        all.map(|argument| argument.as_str().unwrap().to_owned()).collect()
    };
    for (_, values) in VALUES {
        let pods =
            pods(&objects(&render("rescind", &[values, &["--set=clusterDomain=example.internal"]].concat())));
        let controller = LogArgs::augment_args(ControllerArgs::augment_args(
            Command::new("rescind-controller").no_binary_name(true),
        ));
        let told = arguments(&pods[0]["spec"]["containers"][0]);
        let read = controller.try_get_matches_from(&told).unwrap_or_else(|error| panic!("{told:?}: {error}"));
        let read = ControllerArgs::from_arg_matches(&read).unwrap();
        let domain = if read.tls_cert.is_none() { "example.internal" } else { "cluster.local" };
        assert_eq!(read.cluster_domain, domain);
        let sidecar = LogArgs::augment_args(SidecarArgs::augment_args(
            Command::new("rescind-sidecar").no_binary_name(true),
        ));
        let told = arguments(&pods[1]["spec"]["initContainers"][0]);
        sidecar.try_get_matches_from(&told).unwrap_or_else(|error| panic!("{told:?}: {error}"));
    }
}

/// Three controllers on three nodes: a pod that keeps away from them has none.
#[test]
fn the_pod_of_the_test_does_not_keep_away_from_controllers() {
    let objects = objects(&render("rescind", &["--values=charts/rescind/values-ha.yaml"]));
    assert_eq!(one(&objects, "Pod", "rescind-test")["spec"].get("affinity"), None);
}

/// Three controllers on three nodes: the one that an upgrade starts first would wait for a fourth node.
#[test]
fn controllers_of_another_version_may_share_a_node() {
    let objects = objects(&render("rescind", &["--values=charts/rescind/values-ha.yaml"]));
    let deployment = &one(&objects, "Deployment", "rescind-controller")["spec"];
    let rolling = json!({"maxUnavailable": 0, "maxSurge": 1});
    assert_eq!(deployment["strategy"]["rollingUpdate"], rolling, "a new one comes before an old one goes");
    let pod = &deployment["template"]["spec"];
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let spread = &pod["topologySpreadConstraints"];
    for rules in [apart, spread] {
        let rules = rules.as_array().unwrap();
        assert!(!rules.is_empty(), "nothing keeps them apart");
        for rule in rules {
            assert_eq!(rule["matchLabelKeys"], json!(["pod-template-hash"]), "{rule}");
        }
    }
}

/// Ports by name, and by number, are those of containers.
#[test]
fn whoever_names_a_port_names_one_that_a_container_has() {
    let objects = objects(&render("rescind", &["--values=tests/chart/all-on.yaml"]));
    let ports = |container: &Value| -> BTreeSet<String> {
        let ports = container["ports"].as_array().unwrap().iter();
        ports.map(|port| port["name"].as_str().unwrap().to_owned()).collect()
    };
    let texts = |value: &Value, path: &str, member: &str| -> BTreeSet<String> {
        let items = value.pointer(path).unwrap().as_array().unwrap().iter();
        items.map(|item| item[member].as_str().unwrap().to_owned()).collect()
    };
    let deployment = one(&objects, "Deployment", "rescind-controller");
    let controller = ports(&deployment["spec"]["template"]["spec"]["containers"][0]);
    // Those of the Services are names, and each is of the name that it leads to.
    let mut served = BTreeSet::new();
    for service in objects.iter().filter(|object| object["kind"] == "Service") {
        for port in service["spec"]["ports"].as_array().unwrap() {
            assert_eq!(port["name"], port["targetPort"], "{}", service["metadata"]["name"]);
        }
        served.extend(texts(service, "/spec/ports", "targetPort"));
    }
    assert_eq!(served, controller, "left: the Services; right: the controllers");
    let policy = one(&objects, "NetworkPolicy", "rescind-controller");
    let ingress = policy["spec"]["ingress"].as_array().unwrap().iter();
    let let_in: BTreeSet<String> = ingress.flat_map(|rule| texts(rule, "/ports", "port")).collect();
    assert_eq!(let_in, controller, "left: the NetworkPolicy; right: the controllers");
    // A ServiceMonitor names a port of the Service.
    let service = texts(one(&objects, "Service", "rescind-controller"), "/spec/ports", "name");
    let monitored = texts(one(&objects, "ServiceMonitor", "rescind-controller"), "/spec/endpoints", "port");
    assert!(monitored.is_subset(&service), "{monitored:?} {service:?}");

    let settings =
        one(&objects, "ConfigMap", "rescind-injection")["data"]["injection.yaml"].as_str().unwrap();
    let settings = Settings::parse("injection.yaml", settings).unwrap();
    let place = Place { namespace: "shop", asks: Asks::ForAll, controllers: "rescind-system" };
    let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app"}]}});
    let Ok(Outcome::Injected(pod)) = inject(&pod, place, &settings) else { panic!("not injected") };
    let sidecar = ports(&pod["spec"]["initContainers"][0]);
    let monitored =
        texts(one(&objects, "PodMonitor", "rescind-sidecar"), "/spec/podMetricsEndpoints", "port");
    assert_eq!(monitored, sidecar, "left: the PodMonitor; right: the sidecar that is injected");
    // And its controllers are where the Service is.
    let streams = &one(&objects, "Service", "rescind-controller")["spec"]["ports"][0]["port"];
    let expected = format!("https://rescind-controller.rescind-system.svc:{streams}");
    assert_eq!(settings.controllers, [expected]);
}

#[test]
fn the_notes_say_what_comes_next_and_what_uninstalling_does() {
    let cases: [(&str, &[&str]); 5] = [
        ("notes", &[]),
        ("notes_without_injection", &["--set=injection.enabled=false"]),
        ("notes_where_the_definitions_go", &["--set=crds.keep=false"]),
        ("notes_with_a_given_certificate", &["--set=tls.source=secret,tls.secretName=given"]),
        ("notes_with_alerts", &["--set=prometheusRule.enabled=true"]),
    ];
    let command = ["install", "rescind", "charts/rescind", "--namespace=rescind-system", "--dry-run=client"];
    for (name, values) in cases {
        let text = done(&helm(None, &[&command, values].concat()));
        // Pods that were injected by hand wait for what only labelled namespaces get.
        assert!(text.contains("  kubectl label namespace NAMESPACE rescind.dev/inject=enabled\n"), "{name}");
        insta::assert_snapshot!(name, text.split("NOTES:\n").nth(1).unwrap());
    }
    let alone = ["--set=tls.source=secret,tls.secretName=given,tls.publishAuthority=false"];
    let text = done(&helm(None, &[&command[..], &alone].concat()));
    assert!(text.contains("WARNING: with tls.source=secret and neither"), "{text}");
    let readable =
        ["--set=prometheusRule.enabled=true,prometheusRule.runbook=https://runbooks.example.com/rescind"];
    let text = done(&helm(None, &[&command[..], &readable].concat()));
    assert!(!text.contains("prometheusRule.runbook"), "{text}");
}

#[test]
fn an_older_kubernetes_is_refused() {
    let render = |version: &str| {
        let version = format!("--kube-version={version}");
        helm(None, &["template", "rescind", "charts/rescind", "--namespace=rescind-system", &version])
    };
    let said = refused(&render("1.32.9"));
    assert!(said.contains("requires kubeVersion: >=1.33.0-0"), "{said}");
    // Clouds add to the version.
    done(&render("1.33.0-eks-1234"));
}

/// What a catalogue shows of the definitions.
#[test]
fn the_catalogue_knows_the_definitions_and_an_example_of_each() {
    let chart = crate::helm::yaml(&crate::helm::read_chart("Chart.yaml"));
    let told = |name: &str| crate::helm::yaml(chart["annotations"][name].as_str().unwrap());
    let texts = |items: &Value, members: [&str; 3]| -> BTreeSet<[String; 3]> {
        let items = items.as_array().unwrap().iter();
        items.map(|item| members.map(|member| item[member].as_str().unwrap_or_default().to_owned())).collect()
    };
    let definitions = ["crds/revocations.yaml", "crds/tokenrevocationlists.yaml"].map(|file| {
        let definition = crate::helm::yaml(&read(file));
        let (spec, name) = (&definition["spec"], &definition["metadata"]["name"]);
        json!({"kind": spec["names"]["kind"], "version": spec["versions"][0]["name"], "name": name})
    });
    let members = ["kind", "version", "name"];
    assert_eq!(texts(&told("artifacthub.io/crds"), members), texts(&json!(definitions), members));
    // Whether they are accepted is asked of an API server.
    let examples = told("artifacthub.io/crdsExamples");
    let shown: BTreeSet<&str> =
        examples.as_array().unwrap().iter().map(|example| example["kind"].as_str().unwrap()).collect();
    assert_eq!(shown, definitions.iter().map(|definition| definition["kind"].as_str().unwrap()).collect());
}
