//! The examples for what does not run here are held against the schemas of those whose kinds they use.

use std::process::Output;
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{cluster, done, in_project, namespace, refused};
use crate::support::foreign_kinds::definitions;

/// The definitions that the examples need, of all that are there.
const NEEDED: [&str; 9] = [
    "backends.gateway.envoyproxy.io",
    "clienttrafficpolicies.gateway.envoyproxy.io",
    "envoyproxies.gateway.envoyproxy.io",
    "securitypolicies.gateway.envoyproxy.io",
    "envoyfilters.networking.istio.io",
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "ingressroutes.traefik.io",
    "middlewares.traefik.io",
];

/// Defines the kinds of others, once.
fn defined() {
    static DEFINED: OnceLock<()> = OnceLock::new();
    DEFINED.get_or_init(|| {
        let plane = cluster();
        let arguments = ["apply", "--server-side", "--filename", "-"];
        done(&plane.kubectl_with(plane.kubeconfig(), &arguments, &definitions(&NEEDED)));
        for name in NEEDED {
            done(&plane.kubectl(&["wait", "--for=condition=Established", "customresourcedefinition", name]));
        }
    });
}

/// Puts manifests to the API server, which checks everything and stores nothing.
fn put(text: &str) -> Output {
    defined();
    let plane = cluster();
    let arguments = ["create", "--dry-run=server", "--validate=strict", "--filename", "-"];
    plane.kubectl_with(plane.kubeconfig(), &arguments, text)
}

/// Puts an example to the API server.
fn check(example: &str) {
    let place = format!("namespace: {}", namespace());
    let text = std::fs::read_to_string(in_project(example)).unwrap();
    let text = text.replace("namespace: shop", &place);
    done(&put(&text));
    // That is no empty praise: what the schema does not know is refused.
    let wrong = text.replacen("\nspec:\n", "\nspec:\n  misspelt: true\n", 1);
    assert!(refused(&put(&wrong)).contains("misspelt"));
}

#[test]
fn the_example_for_istio_fits_its_schema() {
    check("examples/istio/envoy-filter.yaml");
}

#[test]
fn the_example_for_envoy_gateway_fits_its_schema() {
    check("examples/envoy-gateway/gateway.yaml");
}

#[test]
fn the_example_for_traefik_as_an_ingress_controller_fits_its_schema() {
    check("examples/traefik/middleware.yaml");
}

/// Traefik's file has no schema that is served anywhere. But what it says of a middleware and of a router is called the same
/// in the kinds, which have.
#[test]
fn the_middlewares_and_routers_of_the_file_for_traefik_fit_the_schema_of_its_kinds() {
    let start = yaml("examples/traefik/traefik.yaml");
    let file = json!({"filename": "dynamic.yaml"});
    assert_eq!(
        (&start["providers"], &start["entryPoints"]["web"]["address"]),
        (&json!({"file": file}), &json!("127.0.0.1:8080"))
    );
    let http = yaml("examples/traefik/dynamic.yaml")["http"].clone();
    let members: Vec<&String> = http.as_object().unwrap().keys().collect();
    assert_eq!(members, ["middlewares", "routers", "services"]);
    let object = |kind: &str, name: &str, spec: Value| {
        let metadata = json!({"name": name, "namespace": namespace()});
        json!({"apiVersion": "traefik.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})
            .to_string()
    };
    let middlewares = http["middlewares"].as_object().unwrap();
    assert_eq!(middlewares.len(), 2);
    for (name, middleware) in middlewares {
        done(&put(&object("Middleware", name, middleware.clone())));
        let mut wrong = middleware.clone();
        wrong["forwardAuth"]["misspelt"] = json!(true);
        assert!(refused(&put(&object("Middleware", name, wrong))).contains("misspelt"));
    }
    for (name, router) in http["routers"].as_object().unwrap() {
        let asked = router["middlewares"].as_array().into_iter().flatten();
        let asked: Vec<&str> = asked.map(|name| name.as_str().unwrap()).collect();
        assert!(asked.iter().all(|name| middlewares.contains_key(*name)), "{name}: {asked:?}");
        assert!(http["services"].get(router["service"].as_str().unwrap()).is_some(), "{name}");
        let middlewares: Vec<Value> = asked.iter().map(|name| json!({"name": name})).collect();
        let rule = json!({"match": router["rule"], "kind": "Rule", "middlewares": middlewares});
        done(&put(&object("IngressRoute", name, json!({"routes": [rule]}))));
        let known = ["rule", "middlewares", "service"];
        assert!(router.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{router}");
    }
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(in_project(path)).unwrap()).unwrap()
}

/// Neither the kubelet nor a stream has a certificate of the mesh.
#[test]
fn the_page_for_istio_takes_the_sidecars_own_ports_out_of_the_mesh() {
    let page = std::fs::read_to_string(in_project("docs/integrations/istio.md")).unwrap();
    let injection = yaml("examples/injection.yaml");
    let (_, streams) = injection["controllers"][0].as_str().unwrap().rsplit_once(':').unwrap();
    let probes = rescind::injection::PROBE_PORT;
    for annotation in
        [format!("excludeOutboundPorts: \"{streams}\""), format!("excludeInboundPorts: \"{probes}\"")]
    {
        assert!(page.contains(&format!("\ntraffic.sidecar.istio.io/{annotation}\n")), "{annotation}");
    }
}

/// What Istio puts into its Envoys is what the tests run with an Envoy of their own, but for the socket's path.
#[test]
fn what_the_example_for_istio_adds_is_that_of_the_example_for_envoy() {
    let (istio, envoy) = (yaml("examples/istio/envoy-filter.yaml"), yaml("examples/envoy/envoy.yaml"));
    let patch = |number: usize| istio["spec"]["configPatches"][number]["patch"]["value"].clone();
    let resources = &envoy["static_resources"];
    let manager = &resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(patch(2), manager["http_filters"][0]);
    for (field, value) in patch(1)["typed_config"].as_object().unwrap() {
        assert_eq!(*value, manager[field], "{field}");
    }
    let mut cluster = resources["clusters"][0].clone();
    assert_eq!(cluster["name"], "rescind");
    let pipe = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path";
    *cluster.pointer_mut(pipe).unwrap() = Value::from("/run/rescind/check.sock");
    let mut added = patch(0);
    assert_eq!(added.as_object_mut().unwrap().remove("type"), Some(Value::from("STATIC")));
    assert_eq!(added, cluster);
}
