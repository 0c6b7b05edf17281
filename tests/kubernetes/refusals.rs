//! What the schemas refuse, and the words: nonsense never becomes an object.

use serde_json::{Value, json};

use crate::cluster::{ABSENT, Refusals, cluster, done, in_project, list, namespace, revocation, set};

type Case<'a> = (&'a str, &'a [(&'a str, Value)]);

/// Creates an object that differs from `base` in the members that a case names, and expects each to be refused.
fn create_each(refusals: &mut Refusals, base: &Value, cases: &[Case<'_>]) {
    for (title, members) in cases {
        let mut object = base.clone();
        for (path, value) in *members {
            set(&mut object["spec"], path, value);
        }
        let shown: Vec<String> =
            members.iter().map(|(path, value)| format!("spec.{path}: {value}")).collect();
        let arguments = ["create", "--filename=-"];
        let output = cluster().kubectl_with(cluster().kubeconfig(), &arguments, &object.to_string());
        refusals.add(title, &shown.join("\n"), &output);
    }
}

/// Changes a revocation by each of the patches, and expects each to be refused.
fn change_each(refusals: &mut Refusals, base: &Value, cases: &[(&str, Value)]) {
    let plane = cluster();
    done(&plane.kubectl_with(plane.kubeconfig(), &["create", "--filename=-"], &base.to_string()));
    let metadata = |member: &str| base["metadata"][member].as_str().unwrap();
    for (title, spec) in cases {
        let patch = json!({"spec": spec}).to_string();
        let namespace = format!("--namespace={}", metadata("namespace"));
        let arguments =
            ["patch", &namespace, "revocation", metadata("name"), "--type=merge", "--patch", &patch];
        refusals.add(title, &patch, &plane.kubectl(&arguments));
    }
}

fn selector(values: &Value) -> Value {
    json!({"selector": {"name": "subject-on-client", "values": values}})
}

#[test]
fn a_target_that_is_not_exactly_one_is_refused_with_a_sentence() {
    let base = revocation("case", &namespace());
    let long = "a".repeat(1025);
    let mut refusals = Refusals::default();
    let cases: &[Case<'_>] = &[
        ("no target", &[("target", json!(ABSENT))]),
        ("a target that is null", &[("target", json!(null))]),
        ("a target that is a text", &[("target", json!("alice"))]),
        ("none of the targets", &[("target", json!({}))]),
        ("two targets", &[("target", json!({"subject": "alice", "client": "web"}))]),
        (
            "two targets, one of them left empty by a template",
            &[("target", json!({"subject": null, "client": "web"}))],
        ),
        ("a target and one of the controllers' own", &[("target", json!({"subject": "alice", "epoch": {}}))]),
        ("a subject that is null", &[("target", json!({"subject": null}))]),
        ("a subject that is empty", &[("target", json!({"subject": ""}))]),
        ("a subject that is a number", &[("target", json!({"subject": 7}))]),
        ("a subject that is too long", &[("target", json!({"subject": long}))]),
        ("a subject with a line break", &[("target", json!({"subject": "alice\nbob"}))]),
        ("a token with a zero byte", &[("target", json!({"token": "a\u{0}"}))]),
        ("a session that is empty", &[("target", json!({"session": ""}))]),
        ("a client with a tab", &[("target", json!({"client": "web\t"}))]),
        ("a client with a C1 control character", &[("target", json!({"client": "web\u{85}"}))]),
        ("a key that is too long", &[("target", json!({"key": "k".repeat(257)}))]),
        ("an opaque token in place of its hash", &[("target", json!({"opaqueTokenSha256": "s3cret"}))]),
        ("a hash in capitals", &[("target", json!({"opaqueTokenSha256": "A".repeat(64)}))]),
        ("everything false", &[("target", json!({"everything": false})), ("cutoff", json!("Always"))]),
        ("everything as a text", &[("target", json!({"everything": "true"})), ("cutoff", json!("Always"))]),
        ("everything without a cutoff", &[("target", json!({"everything": true}))]),
        ("an unknown target", &[("target", json!({"user": "alice"}))]),
    ];
    create_each(&mut refusals, &base, cases);
    insta::assert_snapshot!("targets", refusals.text());
}

#[test]
fn a_selector_whose_values_are_no_values_is_refused_with_a_sentence() {
    let base = revocation("case", &namespace());
    let value = |value: Value| [("target", selector(&json!([value])))];
    let mut refusals = Refusals::default();
    let cases: &[Case<'_>] = &[
        ("no values", &[("target", selector(&json!([])))]),
        ("values that are null", &[("target", selector(&json!(null)))]),
        ("a value that is null", &value(json!({"claim": "sub", "value": null}))),
        ("a value that is empty", &value(json!({"claim": "sub", "value": ""}))),
        ("a value that is no text", &value(json!({"claim": "sub", "value": 7}))),
        ("a value with a line break", &value(json!({"claim": "sub", "value": "alice\r\n"}))),
        ("a number that is none", &value(json!({"claim": "level", "value": "07", "type": "Number"}))),
        ("a truth value that is none", &value(json!({"claim": "admin", "value": "yes", "type": "Boolean"}))),
        ("an unknown type", &value(json!({"claim": "admin", "value": "yes", "type": "Date"}))),
        ("a claim of too many bytes", &value(json!({"claim": "ä".repeat(129), "value": "7"}))),
        ("a claim that is empty", &value(json!({"claim": "", "value": "alice"}))),
        ("a pointer into a list", &value(json!({"claim": "/roles/0", "value": "admin"}))),
        ("a pointer with an empty part", &value(json!({"claim": "/tenant//id", "value": "7"}))),
        ("a pointer with a bad escape", &value(json!({"claim": "/tenant~2", "value": "7"}))),
        (
            "a claim twice",
            &[("target", selector(&json!([{"claim": "sub", "value": "a"}, {"claim": "sub", "value": "b"}])))],
        ),
        (
            "too many values",
            &[(
                "target",
                selector(&(0..9).map(|n| json!({"claim": format!("c{n}"), "value": "a"})).collect()),
            )],
        ),
        (
            "a name that is none",
            &[(
                "target",
                json!({"selector": {"name": "Subject", "values": [{"claim": "sub", "value": "a"}]}}),
            )],
        ),
        ("an unknown member", &value(json!({"claim": "sub", "value": "a", "operator": "In"}))),
    ];
    create_each(&mut refusals, &base, cases);
    insta::assert_snapshot!("selectors", refusals.text());
}

#[test]
fn what_else_a_revocation_can_get_wrong_is_refused_with_a_sentence() {
    let base = revocation("case", &namespace());
    let mut refusals = Refusals::default();
    let always = ("cutoff", json!("Always"));
    let cases: &[Case<'_>] = &[
        (
            "no specification",
            &[("target", json!(ABSENT)), ("listName", json!(ABSENT)), ("issuer", json!(ABSENT))],
        ),
        ("no list", &[("listName", json!(ABSENT))]),
        ("a list's name that is none", &[("listName", json!("Shop_1"))]),
        ("a list's name that is empty", &[("listName", json!(""))]),
        ("no issuer", &[("issuer", json!(ABSENT))]),
        ("an issuer that a template left empty", &[("issuer", json!(null))]),
        ("an issuer with a line break", &[("issuer", json!("https://id.example.com\n"))]),
        ("an issuer that is too long", &[("issuer", json!("i".repeat(513)))]),
        ("a cutoff that is no time", &[("cutoff", json!("yesterday"))]),
        ("a cutoff that is empty", &[("cutoff", json!(""))]),
        ("a cutoff that is a number", &[("cutoff", json!(1_790_000_000))]),
        ("a cutoff without a time of day", &[("cutoff", json!("2026-11-21"))]),
        ("a cutoff without a zone", &[("cutoff", json!("2026-11-21T10:00:00"))]),
        ("a cutoff on a day that is none", &[("cutoff", json!("2026-02-30T10:00:00Z"))]),
        ("a cutoff before 1970", &[("cutoff", json!("1969-12-31T23:59:59Z"))]),
        ("a cutoff at the end of time, with an offset", &[("cutoff", json!("9999-12-31T23:59:59-01:00"))]),
        ("a cutoff in lower case", &[("cutoff", json!("2026-11-21t10:00:00z"))]),
        ("an end that is no time", &[("expiresAt", json!("Always"))]),
        ("an end with a decimal comma", &[("expiresAt", json!("2026-12-01T00:00:00,5Z"))]),
        ("an end with an offset that is none", &[("expiresAt", json!("2026-12-01T00:00:00+25:00"))]),
        ("the start of a session compared with always", &[("compareWith", json!("SessionStart")), always]),
        ("a comparison with something else", &[("compareWith", json!("Expiry"))]),
        ("a reason of two words", &[("reason", json!("lost device"))]),
        ("a message with a line break", &[("message", json!("laptop\nstolen"))]),
        ("a message that is too long", &[("message", json!("m".repeat(257)))]),
        ("an unknown field", &[("until", json!("2026-12-01T00:00:00Z"))]),
        ("a heartbeat with a list", &[("target", json!({"heartbeat": {"replica": "0a", "kind": "Pulse"}}))]),
        (
            "a heartbeat that is no sign of anybody",
            &[("target", json!({"heartbeat": {"replica": "Ä", "kind": "Wave"}}))],
        ),
        (
            "an epoch with a cutoff",
            &[
                ("target", json!({"epoch": {}})),
                ("listName", json!(ABSENT)),
                ("issuer", json!(ABSENT)),
                ("cutoff", json!("Always")),
            ],
        ),
        (
            "a horizon with a member",
            &[
                ("target", json!({"horizon": {"to": 1}})),
                ("listName", json!(ABSENT)),
                ("issuer", json!(ABSENT)),
            ],
        ),
    ];
    create_each(&mut refusals, &base, cases);
    insta::assert_snapshot!("revocations", refusals.text());
}

#[test]
fn a_change_of_a_revocation_is_refused_with_a_sentence() {
    let namespace = namespace();
    let mut refusals = Refusals::default();
    let fixed = [
        ("another subject", json!({"target": {"subject": "bob"}})),
        ("another target", json!({"target": {"subject": null, "client": "web"}})),
        ("another list", json!({"listName": "other"})),
        ("another issuer", json!({"issuer": "https://other.example.com"})),
        ("another cutoff", json!({"cutoff": "2026-11-22T10:00:00Z"})),
        ("no cutoff any more", json!({"cutoff": null})),
        ("another comparison", json!({"compareWith": "SessionStart"})),
        ("another reason", json!({"reason": "Leaver"})),
        ("another message", json!({"message": "found again"})),
        ("an end that comes earlier", json!({"expiresAt": "2026-11-30T23:59:59Z"})),
        ("an end that comes earlier, in another zone", json!({"expiresAt": "2026-12-01T00:30:00+01:00"})),
        ("no end any more", json!({"expiresAt": null})),
    ];
    let mut with_end = revocation("with-end", &namespace);
    for (path, value) in [
        ("cutoff", "2026-11-21T10:00:00Z"),
        ("expiresAt", "2026-12-01T00:00:00Z"),
        ("reason", "LostDevice"),
        ("message", "laptop stolen"),
    ] {
        set(&mut with_end["spec"], path, &json!(value));
    }
    change_each(&mut refusals, &with_end, &fixed);
    let added = [
        ("an end that was not there", json!({"expiresAt": "2026-12-01T00:00:00Z"})),
        ("a cutoff that was not there", json!({"cutoff": "2026-11-22T10:00:00Z"})),
    ];
    change_each(&mut refusals, &revocation("without-end", &namespace), &added);
    insta::assert_snapshot!("changes", refusals.text());
}

#[test]
fn what_an_issuer_of_a_list_can_get_wrong_is_refused_with_a_sentence() {
    let base = list("case", &namespace());
    let issuer = |member: &str| format!("issuers.0.{member}");
    let [audiences, any, verification, lifetime, session, skew, leeway] = [
        "audiences",
        "anyAudience",
        "verification",
        "maxTokenLifetimeSeconds",
        "maxSessionLifetimeSeconds",
        "clockSkewSeconds",
        "leewaySeconds",
    ]
    .map(issuer);
    let [required, start, names, types, name] =
        ["requiredClaims", "sessionStartClaim", "claimNames.subject", "types", "issuer"].map(issuer);
    let claim_names = issuer("claimNames");
    let upstream = json!({"envoyMetadata": {"payloadKey": "payload"}});
    let mut refusals = Refusals::default();
    let cases: &[Case<'_>] = &[
        ("no issuers", &[("issuers", json!(ABSENT))]),
        ("an empty list of issuers", &[("issuers", json!([]))]),
        ("an issuer twice", &[("issuers.1", base["spec"]["issuers"][0].clone())]),
        ("an issuer that is empty", &[(&name, json!(""))]),
        ("both audiences and any audience", &[(&any, json!(true))]),
        ("neither audiences nor any audience", &[(&audiences, json!(ABSENT))]),
        ("any audience false", &[(&audiences, json!(ABSENT)), (&any, json!(false))]),
        ("no audiences in the list of them", &[(&audiences, json!([]))]),
        ("an audience that is empty", &[(&audiences, json!([""]))]),
        ("an audience with a line break", &[(&audiences, json!(["shop\n"]))]),
        ("a type with a control character", &[(&types, json!(["at+jwt\u{7f}"]))]),
        ("no lifetime", &[(&lifetime, json!(ABSENT))]),
        ("a lifetime of nothing", &[(&lifetime, json!(0))]),
        ("a lifetime of more than a year", &[(&lifetime, json!(31_536_001))]),
        ("a lifetime that is a fraction", &[(&lifetime, json!(1.5))]),
        ("a session of more than a year", &[(&session, json!(31_536_001))]),
        ("a skew that is too large", &[(&skew, json!(301))]),
        ("a leeway that is negative", &[(&leeway, json!(-1))]),
        ("a required claim that is none", &[(&required, json!(["sub", "/"]))]),
        ("a start of sessions that is no claim", &[(&start, json!("/auth/0"))]),
        ("a claim's name that is none", &[(&claim_names, json!({})), (&names, json!("/user/-"))]),
        ("no verification", &[(&verification, json!(ABSENT))]),
        ("a verification by nobody", &[(&verification, json!({}))]),
        ("a verification by two", &[(&format!("{verification}.trustUpstream"), upstream)]),
        ("a verification by no key", &[(&verification, json!({"keys": []}))]),
        ("an unknown field", &[(&issuer("jwksURI"), json!("https://id.example.com/jwks"))]),
    ];
    create_each(&mut refusals, &base, cases);
    insta::assert_snapshot!("issuers", refusals.text());
}

#[test]
fn a_key_that_is_none_or_private_is_refused_with_a_sentence() {
    let base = list("case", &namespace());
    let key = |member: &str| format!("issuers.0.verification.keys.0.{member}");
    let [kty, alg, crv, y, purpose, d] = ["kty", "alg", "crv", "y", "use", "d"].map(key);
    let keys = "issuers.0.verification.keys";
    let rsa = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256"});
    let mut without_algorithm = rsa.clone();
    set(&mut without_algorithm, "alg", &json!(ABSENT));
    let mut private = rsa;
    set(&mut private, "p", &json!("AQAB"));
    let mut refusals = Refusals::default();
    let cases: &[Case<'_>] = &[
        ("a private key", &[(&d, json!("private"))]),
        ("a private RSA key", &[(keys, json!([private]))]),
        ("a symmetric key", &[(keys, json!([{"kty": "oct", "kid": "hmac"}]))]),
        ("a key of no type", &[(&kty, json!(ABSENT))]),
        ("an EC key without y", &[(&y, json!(ABSENT))]),
        (
            "an EC key with an unquoted y, which YAML reads as true",
            &[(&y, json!(ABSENT)), (&key("true"), json!("x_FE"))],
        ),
        ("an EC key with the algorithm of another curve", &[(&alg, json!("ES384"))]),
        ("a curve that nobody should use", &[(&crv, json!("secp256k1")), (&alg, json!("ES256K"))]),
        ("a coordinate in base64", &[(&y, json!("x/FE+w=="))]),
        ("an RSA key without its algorithm", &[(keys, json!([without_algorithm]))]),
        ("an OKP key of another curve", &[(keys, json!([{"kty": "OKP", "crv": "X25519", "x": "AQAB"}]))]),
        ("a key for encryption", &[(&purpose, json!("enc"))]),
        (
            "a kid twice",
            &[(&format!("{keys}.1"), base["spec"]["issuers"][0]["verification"]["keys"][0].clone())],
        ),
        ("a kid that is too long", &[(&key("kid"), json!("k".repeat(257)))]),
    ];
    create_each(&mut refusals, &base, cases);
    insta::assert_snapshot!("keys", refusals.text());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table with a row for each case")]
fn what_else_a_list_can_get_wrong_is_refused_with_a_sentence() {
    let base = list("case", &namespace());
    let header = json!({"header": "Authorization"});
    let cookie = json!({"cookie": "token"});
    let mut refusals = Refusals::default();
    let requirement = |requirement: Value| {
        let selector = json!({"matchExpressions": [requirement]});
        [("allowedSubscribers", json!({"namespaces": {"from": "Selector", "selector": selector}}))]
    };
    let source = |source: Value| [("tokenSources", json!([source]))];
    let cases: &[Case<'_>] = &[
        ("a bound of nothing", &[("freshness", json!({"boundSeconds": 1}))]),
        (
            "a bound of more than an hour",
            &[("freshness", json!({"boundSeconds": 3601, "maximumSeconds": 7200}))],
        ),
        ("a maximum of more than a day", &[("freshness", json!({"maximumSeconds": 86_401}))]),
        ("a maximum below the bound", &[("freshness", json!({"boundSeconds": 60, "maximumSeconds": 30}))]),
        ("a policy that does not exist", &[("freshness", json!({"policy": "Lenient"}))]),
        ("an enforcement that does not exist", &[("enforcement", json!("Off"))]),
        (
            "a selector with a built-in name",
            &[("selectors", json!([{"name": "subject", "claims": ["sub"]}]))],
        ),
        ("a selector's name that is none", &[("selectors", json!([{"name": "A b", "claims": ["sub"]}]))]),
        ("a selector twice", &[("selectors.1", base["spec"]["selectors"][0].clone())]),
        ("a selector without claims", &[("selectors", json!([{"name": "a", "claims": []}]))]),
        ("a selector with a claim twice", &[("selectors", json!([{"name": "a", "claims": ["sub", "sub"]}]))]),
        (
            "a selector with a claim that is none",
            &[("selectors", json!([{"name": "a", "claims": ["/roles/0"]}]))],
        ),
        ("a source that is no place", &source(json!({}))),
        ("a source that is two places", &source(json!({"header": "Authorization", "cookie": "token"}))),
        ("another header", &source(json!({"header": "X-Token"}))),
        ("another scheme", &source(json!({"header": "Authorization", "scheme": "Basic"}))),
        ("a scheme in a cookie", &source(json!({"cookie": "token", "scheme": "Bearer"}))),
        ("a header that is cleared", &source(json!({"header": "Authorization", "clearWhenRefused": true}))),
        ("a cookie's name that is none", &source(json!({"cookie": "my token"}))),
        ("opaque tokens of nobody", &source(json!({"cookie": "token", "kind": "Opaque"}))),
        (
            "opaque tokens of an undeclared issuer",
            &source(json!({"cookie": "token", "kind": "Opaque", "issuer": "https://other"})),
        ),
        (
            "an issuer of tokens that name theirs",
            &source(json!({"cookie": "token", "issuer": "https://id.example.com"})),
        ),
        ("a cookie twice", &[("tokenSources", json!([cookie, cookie]))]),
        ("the header twice", &[("tokenSources", json!([header, cookie, header]))]),
        (
            "subscribers from somewhere else",
            &[("allowedSubscribers", json!({"namespaces": {"from": "Nowhere"}}))],
        ),
        (
            "a selector of namespaces that is missing",
            &[("allowedSubscribers", json!({"namespaces": {"from": "Selector"}}))],
        ),
        (
            "a selector of namespaces that is not meant",
            &[("allowedSubscribers", json!({"namespaces": {"from": "All", "selector": {}}}))],
        ),
        ("a label without values", &requirement(json!({"key": "team", "operator": "In"}))),
        (
            "a label with useless values",
            &requirement(json!({"key": "team", "operator": "Exists", "values": ["a"]})),
        ),
        (
            "an account that is none",
            &[("allowedSubscribers", json!({"serviceAccounts": ["apps/web", "a/b/c"]}))],
        ),
        ("an unknown field", &[("ttl", json!(3))]),
    ];
    create_each(&mut refusals, &base, cases);
    insta::assert_snapshot!("lists", refusals.text());
}

/// Nobody learns later that a sentence is wrong, or that a rule refuses nothing.
#[test]
fn every_sentence_of_the_schemas_is_among_the_refusals() {
    let folder = in_project("tests/kubernetes/snapshots");
    let texts =
        std::fs::read_dir(folder).unwrap().map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let refusals: String = texts.collect();
    for definition in
        [rescind::api::definition::revocation(), rescind::api::definition::token_revocation_list()]
    {
        let definition = serde_json::to_value(definition).unwrap();
        let mut sentences = Vec::new();
        collect_sentences(&definition, &mut sentences);
        assert!(sentences.len() > 10);
        for sentence in sentences {
            assert!(refusals.contains(&sentence), "no test is refused with: {sentence}");
        }
    }
}

fn collect_sentences(value: &Value, sentences: &mut Vec<String>) {
    if let Value::Object(members) = value {
        let rules = members.get("x-kubernetes-validations").and_then(Value::as_array);
        let messages = rules.into_iter().flatten().map(|rule| rule["message"].as_str().unwrap().to_owned());
        sentences.extend(messages);
        members.values().for_each(|member| collect_sentences(member, sentences));
    } else if let Value::Array(items) = value {
        items.iter().for_each(|item| collect_sentences(item, sentences));
    }
}
