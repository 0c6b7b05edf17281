use clap::{Args, Command, FromArgMatches};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::annotations;
use super::extra::{OWN_FLAGS, OWN_VARIABLES, TELLING_FLAGS};
use super::patch::patch;
use super::pod::{Asks, Outcome, Place, Why, inject};
use super::refusal::Refusal;
use super::settings::Settings;
use super::{CONTAINER, MARK};
use crate::sidecar::args::SidecarArgs;

mod workloads;

const SETTINGS: &str = "\
image: registry.example/rescind-sidecar:0.1.0
controllers: [https://rescind-controller.rescind-system.svc:7401]
";

const ENABLED: Place<'_> = Place { namespace: "shop", asks: Asks::ForAll, controllers: "rescind-system" };
const NOT_ENABLED: Place<'_> = Place { asks: Asks::ForLabelled, ..ENABLED };

pub(super) fn settings() -> Settings {
    Settings::parse("injection.yaml", SETTINGS).unwrap()
}

/// A pod of one container that names its list.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "annotations": {"rescind.dev/lists": "shop"}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    })
}

fn with(path: &str, value: Value) -> Value {
    let mut pod = pod();
    let (parent, member) = path.rsplit_once('/').unwrap();
    if pod.pointer(parent).is_none() {
        let (outer, inner) = parent.rsplit_once('/').unwrap();
        pod.pointer_mut(outer).unwrap()[inner] = json!({});
    }
    pod.pointer_mut(parent).unwrap()[member] = value;
    pod
}

fn labelled(label: &str) -> Value {
    with("/metadata/labels", json!({"rescind.dev/inject": label}))
}

fn annotated(name: &str, value: &str) -> Value {
    let mut pod = pod();
    pod["metadata"]["annotations"][name] = json!(value);
    pod
}

fn injected(pod: &Value) -> Value {
    match inject(pod, ENABLED, &settings()) {
        Ok(Outcome::Injected(injected)) => injected,
        other => panic!("{other:?}"),
    }
}

fn refused(pod: &Value) -> Refusal {
    inject(pod, ENABLED, &settings()).unwrap_err()
}

fn sidecar(pod: &Value) -> &Value {
    &pod["spec"]["initContainers"][0]
}

fn arguments(pod: &Value) -> Vec<&str> {
    sidecar(pod)["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect()
}

fn check_left(pod: &Value, place: Place<'_>, expected: Option<Why>) {
    let left = match inject(pod, place, &settings()).unwrap() {
        Outcome::Left(why) => Some(why),
        Outcome::Injected(_) => None,
    };
    assert_eq!(left, expected, "{place:?} {}", pod["metadata"]);
}

#[test]
fn who_asks_is_injected_and_who_does_not_is_left() {
    check_left(&pod(), ENABLED, None);
    check_left(&pod(), NOT_ENABLED, Some(Why::NotAsked));
    check_left(&labelled("enabled"), NOT_ENABLED, None);
    check_left(&labelled("enabled"), ENABLED, None);
    for place in [ENABLED, NOT_ENABLED] {
        check_left(&labelled("disabled"), place, Some(Why::Disabled));
    }
    assert_eq!(refused(&labelled("true")), Refusal::Label { given: "true".to_owned() });
}

#[test]
fn the_systems_namespace_and_the_controllers_own_are_never_injected() {
    for namespace in ["kube-system", "rescind-system"] {
        for label in ["enabled", "nonsense"] {
            check_left(&labelled(label), Place { namespace, ..ENABLED }, Some(Why::Namespace));
        }
    }
    check_left(&pod(), Place { controllers: "other", namespace: "rescind-system", ..ENABLED }, None);
}

/// The kubelet runs its file, whatever the API server shows.
#[test]
fn the_mirror_of_a_static_pod_is_left() {
    check_left(&annotated("kubernetes.io/config.mirror", "1"), ENABLED, Some(Why::Mirror));
}

fn golden(name: &str, pod: &Value) {
    let operations = patch(pod, &injected(pod));
    insta::assert_snapshot!(name, serde_json::to_string_pretty(&operations).unwrap());
}

#[test]
fn a_pod_becomes_one_with_a_native_sidecar() {
    golden("plain", &pod());
}

#[test]
fn existing_init_containers_come_after_the_sidecar_and_have_its_sockets() {
    let mut pod = pod();
    pod["spec"]["initContainers"] =
        json!([{"name": "migrate", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}]);
    pod["spec"]["volumes"] = json!([{"name": "d", "emptyDir": {}}]);
    golden("init_containers", &pod);
}

#[test]
fn what_a_pod_asks_for_in_annotations_is_what_its_sidecar_is_told() {
    let mut pod = pod();
    pod["spec"]["containers"] = json!([{"name": "app"}, {"name": "log", "image": "log:1"}]);
    pod["metadata"]["annotations"] = json!({
        annotations::LISTS: "shop, global/all,shop",
        annotations::BOUND: "10s",
        annotations::LOG_LEVEL: "debug",
        annotations::MOUNT_SOCKET: "app",
        annotations::FORWARD_AUTH_PORT: "8181",
        annotations::CPU_REQUEST: "50m",
        annotations::CPU_LIMIT: "1",
        annotations::MEMORY_REQUEST: "64Mi",
        annotations::MEMORY_LIMIT: "1Gi",
        "example.com/other": "kept",
    });
    golden("annotations", &pod);
}

/// What is said is what the sidecar of this version understands.
#[test]
fn the_sidecar_accepts_its_arguments() {
    let pod = injected(&annotated(annotations::BOUND, "1m"));
    let command = SidecarArgs::augment_args(Command::new("rescind-sidecar"));
    let matches = command.no_binary_name(true).try_get_matches_from(arguments(&pod));
    let read = SidecarArgs::from_arg_matches(&matches.unwrap()).unwrap();
    assert_eq!((read.bound, read.lists), (Some(60), vec!["shop/shop".parse().unwrap()]));
    assert_eq!(super::MAX_LISTS, crate::distribution::MAX_LISTS);
}

const EXTRA: &str = "\
extraArgs: [--max-concurrent-checks=4096, --threads=2]
extraEnv:
  - {name: NODE, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
  - {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: 'http://$(NODE):4317'}
  - {name: OTEL_EXPORTER_OTLP_HEADERS, valueFrom: {secretKeyRef: {name: otel, key: headers, optional: true}}}
  - {name: CLUSTER, valueFrom: {configMapKeyRef: {name: cluster, key: name}}}
  - {name: EMPTY, value: ''}
";

#[test]
fn sidecars_get_the_arguments_and_the_environment_that_the_operator_adds() {
    let settings = Settings::parse("injection.yaml", &format!("{SETTINGS}{EXTRA}")).unwrap();
    let pod = pod();
    let Ok(Outcome::Injected(injected)) = inject(&pod, ENABLED, &settings) else { panic!("refused") };
    insta::assert_snapshot!("extra", serde_json::to_string_pretty(sidecar(&injected)).unwrap());
    let command = SidecarArgs::augment_args(Command::new("rescind-sidecar"));
    let matches = command.no_binary_name(true).try_get_matches_from(arguments(&injected));
    let read = SidecarArgs::from_arg_matches(&matches.unwrap()).unwrap();
    assert_eq!((read.max_concurrent_checks, read.threads), (4096, Some(2)));
    // What the settings say is read back as it was: `rescind inject` and the webhook do the same.
    assert_eq!(inject(&injected, ENABLED, &settings), Ok(Outcome::Injected(injected.clone())));
}

#[test]
fn what_injection_sets_itself_and_what_tells_who_is_revoked_is_no_extra() {
    let mut pod = annotated(annotations::BOUND, "1m");
    pod["metadata"]["annotations"][annotations::FORWARD_AUTH_PORT] = json!("8181");
    let pod = injected(&pod);
    for argument in arguments(&pod) {
        assert!(OWN_FLAGS.contains(&argument.split('=').next().unwrap()), "{argument}");
    }
    let variables = sidecar(&pod)["env"].as_array().unwrap().iter();
    let names: Vec<_> = variables.map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, OWN_VARIABLES.map(|(name, _)| name));
    let command = SidecarArgs::augment_args(Command::new("rescind-sidecar"));
    for flag in OWN_FLAGS.iter().chain(&TELLING_FLAGS) {
        let name = flag.trim_start_matches("--");
        assert!(command.get_arguments().any(|argument| argument.get_long() == Some(name)), "no flag {flag}");
        for given in [(*flag).to_owned(), format!("{flag}=x")] {
            let text = format!("{SETTINGS}extraArgs: ['{given}']\n");
            let said = Settings::parse("f.yaml", &text).unwrap_err().to_string();
            assert!(said.starts_with(&format!("f.yaml:3: extraArgs[0]: is {flag}, which ")), "{said}");
        }
    }
}

#[test]
fn the_other_containers_never_have_the_sockets_writable_nor_what_is_the_sidecars_alone() {
    // Marked, so that it is put right and not refused.
    let mut pod = annotated(MARK, "0.0.1");
    pod["spec"]["containers"][0]["volumeMounts"] = json!([
        {"name": "rescind-socket", "mountPath": "/run/rescind"},
        {"name": "rescind-trust", "mountPath": "/steal"},
        {"name": "rescind-data", "mountPath": "/steal2"},
        {"name": "mine", "mountPath": "/mine"},
    ]);
    let mounts = &injected(&pod)["spec"]["containers"][0]["volumeMounts"];
    let expected = json!([
        {"name": "mine", "mountPath": "/mine"},
        {"name": "rescind-socket", "mountPath": "/run/rescind", "readOnly": true},
    ]);
    assert_eq!(*mounts, expected);
}

#[test]
fn a_pod_that_another_webhook_has_changed_is_put_right_without_duplicates() {
    let whole = injected(&pod());
    let mut changed = whole.clone();
    let init = changed["spec"]["initContainers"].as_array_mut().unwrap();
    init.insert(0, json!({"name": "early"}));
    init[1]["securityContext"] = json!({"privileged": true});
    init[1]["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "token", "mountPath": "/token"}));
    // A namespace's default.
    init[1]["resources"]["limits"]["cpu"] = json!("2");
    changed["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "late"}));
    changed["spec"]["volumes"].as_array_mut().unwrap().remove(1);
    let again = injected(&changed);
    let mut expected = sidecar(&whole).clone();
    expected["resources"]["limits"]["cpu"] = json!("2");
    assert_eq!(*sidecar(&again), expected);
    let names = |member: &str| {
        let items = again["spec"][member].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("initContainers"), [CONTAINER, "early"]);
    assert_eq!(names("containers"), ["app", "late"]);
    assert_eq!(names("volumes"), ["rescind-socket", "rescind-trust", "rescind-data"]);
    let socket = &again["spec"]["containers"][0]["volumeMounts"];
    assert_eq!(again["spec"]["containers"][1]["volumeMounts"], *socket);
    assert_eq!(again["spec"]["initContainers"][1]["volumeMounts"], *socket);
}

#[test]
fn without_a_list_a_pod_is_refused_unless_the_settings_name_one() {
    let mut pod = pod();
    pod["metadata"].as_object_mut().unwrap().remove("annotations");
    assert_eq!(refused(&pod), Refusal::NoLists);
    let settings = Settings { default_lists: vec!["all".to_owned(), "global/x".to_owned()], ..settings() };
    let Ok(Outcome::Injected(injected)) = inject(&pod, ENABLED, &settings) else { panic!("refused") };
    let lists: Vec<_> = arguments(&injected).into_iter().filter(|it| it.starts_with("--list")).collect();
    assert_eq!(lists, ["--list=shop/all", "--list=global/x"]);
}

#[test]
fn what_a_pod_can_get_wrong_is_refused_with_a_sentence() {
    let annotation = |name: &str, value: &str| (format!("{name}: {value:?}"), annotated(name, value));
    let mut cases: Vec<(String, Value)> = [
        ("rescind.dev/list", "shop"),
        (annotations::LISTS, ""),
        (annotations::LISTS, "shop,,other"),
        (annotations::LISTS, "Shop"),
        (annotations::LISTS, "a/b/c"),
        (annotations::LISTS, "other/"),
        (annotations::BOUND, "1"),
        (annotations::BOUND, "3601"),
        (annotations::BOUND, "2h"),
        (annotations::BOUND, "1500ms"),
        (annotations::BOUND, "-5"),
        (annotations::BOUND, "soon"),
        (annotations::LOG_LEVEL, "verbose"),
        (annotations::MOUNT_SOCKET, "app,proxy"),
        (annotations::MOUNT_SOCKET, ""),
        (annotations::FORWARD_AUTH_PORT, "80"),
        (annotations::FORWARD_AUTH_PORT, "7404"),
        (annotations::CPU_REQUEST, "much"),
        (annotations::MEMORY_REQUEST, "1Gi"),
        (annotations::MEMORY_LIMIT, "1Mi"),
        (annotations::CPU_LIMIT, "5m"),
        (annotations::MEMORY_LIMIT, "0"),
    ]
    .map(|(name, value)| annotation(name, value))
    .into();
    let many = (0..65).map(|number| format!("l{number}")).collect::<Vec<_>>().join(",");
    cases.push(("too many lists".to_owned(), annotated(annotations::LISTS, &many)));
    let app = |member: &str, value: Value| with(&format!("/spec/containers/0/{member}"), value);
    let others = [
        ("a label that is neither", labelled("yes")),
        ("the node's network", with("/spec/hostNetwork", json!(true))),
        ("another system", with("/spec/os", json!({"name": "windows"}))),
        ("a container of our name", with("/spec/containers", json!([{"name": "a"}, {"name": CONTAINER}]))),
        ("an init container of our name", with("/spec/initContainers", json!([{"name": CONTAINER}]))),
        ("a volume of our name", with("/spec/volumes", json!([{"name": "rescind-socket", "emptyDir": {}}]))),
        ("our folder", app("volumeMounts", json!([{"name": "x", "mountPath": "/run/rescind/"}]))),
        ("our port", app("ports", json!([{"containerPort": 7404}]))),
        ("no containers", with("/spec/containers", json!([]))),
        ("no specification", with("/spec", json!("none"))),
    ];
    cases.extend(others.map(|(title, pod)| (title.to_owned(), pod)));
    let told = cases.iter().map(|(title, pod)| {
        let refusal = refused(pod);
        format!("## {title}\n{refusal}\n({})\n", refusal.path().join(" > "))
    });
    insta::assert_snapshot!("refusals", told.collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_container_of_our_name_beside_the_others_is_refused_even_with_the_mark() {
    let mut pod = annotated(MARK, "0.1.0");
    pod["spec"]["containers"] = json!([{"name": "a"}, {"name": CONTAINER}]);
    assert!(matches!(refused(&pod), Refusal::Foreign { .. }));
}

#[test]
fn what_the_settings_can_get_wrong_is_refused_with_file_and_line() {
    let check = |text: &str, expected: &str| {
        let said = Settings::parse("f.yaml", text).unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    };
    check("image: a\n", "f.yaml:1: missing field `controllers`");
    check(&format!("{SETTINGS}logLevels: info\n"), "f.yaml:3: unknown field `logLevels`");
    check(&format!("{SETTINGS}logLevel: loud\n"), "f.yaml:3: ");
    check(&format!("{SETTINGS}controllers: []\n"), "f.yaml:3: ");
    check("controllers: []\nimage: a\n", "f.yaml:1: controllers: has 0 items: between 1 and 16");
    for uri in ["http://a:1", "https://", "https://a/b", "https://$(X):1", "https://a b", "unix:/a"] {
        let said = format!("f.yaml:2: controllers[0]: is {uri:?}: write https://HOST:PORT");
        check(&format!("image: a\ncontrollers: ['{uri}']\n"), &said);
    }
    check("image: a b\ncontrollers: [https://a]\n", "f.yaml:1: image: has a space");
    check(
        &format!("{SETTINGS}defaultLists: [a, B]\n"),
        "f.yaml:3: defaultLists[1]: list \"B\" is not a name",
    );
    check(
        &format!("{SETTINGS}tokenExpirationSeconds: 60\n"),
        "f.yaml:3: tokenExpirationSeconds: is 60: between 600",
    );
    check(&format!("{SETTINGS}resources:\n  requests:\n    cpu: much\n"), "f.yaml:5: ");
    for argument in ["-v", "4096", "--", "--=x"] {
        let said = format!("f.yaml:3: extraArgs[0]: is {argument:?}: write --FLAG=VALUE, or --FLAG");
        check(&format!("{SETTINGS}extraArgs: ['{argument}']\n"), &said);
    }
    check(&format!("{SETTINGS}extraEnv: [{{name: A, valu: b}}]\n"), "f.yaml:3: unknown field `valu`");
    for (variable, expected) in [
        ("name: A", ": A needs value or valueFrom, one of them"),
        ("name: A, value: a, valueFrom: {fieldRef: {fieldPath: b}}", ": A needs value or valueFrom"),
        ("name: RUST_LOG, value: a", ".name: is RUST_LOG, which injection itself sets: set logLevel"),
        ("name: A=B, value: a", ".name: is \"A=B\": use letters"),
        ("name: '', value: a", ".name: is empty"),
        ("name: A, valueFrom: {secretKeyRef: {name: a, key: ''}}", ".valueFrom.secretKeyRef.key: is empty"),
    ] {
        check(
            &format!("{SETTINGS}extraEnv: [{{{variable}}}]\n"),
            &format!("f.yaml:3: extraEnv[0]{expected}"),
        );
    }
    let twice = "extraEnv: [{name: A, value: a}, {name: A, value: b}]\n";
    check(&format!("{SETTINGS}{twice}"), "f.yaml:3: extraEnv[1].name: is A, which is there before");
    let more = "resources:\n  requests: {memory: 2Gi}\n  limits: {memory: 1Gi}\n";
    check(&format!("{SETTINGS}{more}"), "f.yaml:4: resources.requests.memory: is 2Gi, and the limit is 1Gi");
}

fn mounts() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "rescind-socket", "rescind-data", "rescind-trust"]);
    let mount = (name, "/[a-z]{1,3}", any::<bool>())
        .prop_map(|(name, path, read)| json!({"name": name, "mountPath": path, "readOnly": read}));
    prop::collection::vec(mount, 0..4).prop_map(Value::Array)
}

fn container() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    (name, prop::option::of(mounts())).prop_map(|(name, mounts)| {
        let mut container = json!({"name": name, "x": {"unknown": 1}});
        if let Some(mounts) = mounts {
            container["volumeMounts"] = mounts;
        }
        container
    })
}

fn any_pod() -> impl Strategy<Value = Value> {
    let init = prop_oneof![3 => container(), 1 => Just(json!({"name": CONTAINER, "image": "old"}))];
    let volume = prop::sample::select(vec!["a", "rescind-socket", "rescind-data", "rescind-trust"]);
    let volumes = prop::collection::vec(volume.prop_map(|name| json!({"name": name})), 0..4);
    let named = prop::sample::select(vec!["", "a", "b,c", "a,rescind-sidecar"]);
    let annotations = (any::<bool>(), prop::option::of(named), prop::option::of(1..20u32));
    (prop::collection::vec(container(), 1..3), prop::collection::vec(init, 0..3), volumes, annotations)
        .prop_map(|(containers, init, volumes, (marked, named, bound))| {
            let mut pod = pod();
            pod["spec"] = json!({"containers": containers, "initContainers": init, "volumes": volumes});
            let annotations = &mut pod["metadata"]["annotations"];
            if marked {
                annotations[MARK] = json!("0.0.1");
            }
            if let Some(named) = named {
                annotations[annotations::MOUNT_SOCKET] = json!(named);
            }
            if let Some(bound) = bound {
                annotations[annotations::BOUND] = json!(bound.to_string());
            }
            pod
        })
}

proptest! {
    #[test]
    fn injecting_an_injected_pod_changes_nothing_and_only_the_sidecar_writes(pod in any_pod()) {
        if let Ok(outcome) = inject(&pod, ENABLED, &settings()) {
            let Outcome::Injected(once) = outcome else { panic!("left") };
            prop_assert_eq!(inject(&once, ENABLED, &settings()), Ok(Outcome::Injected(once.clone())));
            prop_assert_eq!(patch(&once, &once), []);
            let init = once["spec"]["initContainers"].as_array().unwrap();
            let ours = init.iter().filter(|container| container["name"] == CONTAINER).count();
            prop_assert_eq!((ours, &init[0]["name"]), (1, &json!(CONTAINER)));
            for container in init[1..].iter().chain(once["spec"]["containers"].as_array().unwrap()) {
                for mount in container["volumeMounts"].as_array().into_iter().flatten() {
                    let name = mount["name"].as_str().unwrap();
                    let socket = json!({"name": "rescind-socket", "mountPath": "/run/rescind", "readOnly": true});
                    let is_harmless = !name.starts_with("rescind-") || *mount == socket;
                    prop_assert!(is_harmless);
                }
            }
        }
    }
}
