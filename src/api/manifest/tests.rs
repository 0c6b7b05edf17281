use super::*;

const EXAMPLE: &str = include_str!("../../../examples/lists.yaml");

fn refused(text: &str) -> String {
    parse("lists.yaml", text).unwrap_err().to_string()
}

fn changed(from: &str, to: &str) -> String {
    assert!(EXAMPLE.contains(from), "{from}");
    refused(&EXAMPLE.replace(from, to))
}

#[test]
fn the_example_is_read() {
    let objects = parse("lists.yaml", EXAMPLE).unwrap();
    let [Object::List(document)] = objects.as_slice() else { panic!("{objects:?}") };
    let config = document.config().unwrap();
    assert_eq!(config.name.to_string(), "default/shop");
    assert_eq!(config.sources.len(), 2);
    assert_eq!(ListDocument::parse(&document.encode()).as_ref(), Ok(document.as_ref()));
}

#[test]
fn several_documents_are_read_and_lines_count_from_the_start_of_the_file() {
    let two =
        format!("---\n{EXAMPLE}\n---\n# nothing\n---\n{}", EXAMPLE.replace("name: shop\n", "name: other\n"));
    assert_eq!(parse("f", &two).unwrap().len(), 2);
    let bad = format!("{EXAMPLE}---\nkind: Secret\napiVersion: v1\n");
    let line = EXAMPLE.lines().count() + 2;
    assert!(refused(&bad).starts_with(&format!("lists.yaml:{line}: apiVersion \"v1\", kind \"Secret\"")));
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    let error = changed("audiences: [shop-api]", "audience: [shop-api]");
    assert!(error.starts_with("lists.yaml:10: ") && error.contains("`audience`"), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_line() {
    let error = changed("boundSeconds: 15", "boundSeconds: soon");
    assert!(error.starts_with("lists.yaml:30: "), "{error}");
}

#[test]
fn a_value_that_makes_no_sense_is_named_with_its_line_and_path() {
    let check = |from, to, expected: &str| {
        let error = changed(from, to);
        assert!(error.starts_with(expected), "{error}");
    };
    check("boundSeconds: 15", "boundSeconds: 1", "lists.yaml:30: spec.freshness.boundSeconds: is 1");
    check(
        "maximumSeconds: 300",
        "maximumSeconds: 3",
        "lists.yaml:31: spec.freshness.maximumSeconds: is smaller",
    );
    check(
        "audiences: [shop-api]",
        "anyAudience: false",
        "lists.yaml:10: spec.issuers[0].anyAudience: can only",
    );
    check("[/tenant/id]", "[/tenant/0]", "lists.yaml:28: spec.selectors[1].claims[0]: 0 is an array index");
    check("kty: EC", "kty: RSA", "lists.yaml:18: spec.issuers[0].verification.keys[0]: alg ES256");
    check(
        "cookie: access_token",
        "cookie: a b",
        "lists.yaml:36: spec.tokenSources[1].cookie: has a character",
    );
    check("name: shop\n", "name: Shop\n", "lists.yaml:5: metadata.name: list \"Shop\"");
}

#[test]
fn a_private_key_is_refused() {
    let error = changed("kid: k1", "d: c2VjcmV0\n            kid: k1");
    assert!(error.contains("unknown field `d`"), "{error}");
}

#[test]
fn what_is_no_manifest_is_refused() {
    for text in ["", "# nothing\n", "[1, 2]", "a: [", "kind: TokenRevocationList\n", "\u{0}"] {
        assert!(refused(text).starts_with("lists.yaml:"), "{text:?}");
    }
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(",");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    assert!(parse("f", &text).is_err());
}

#[test]
fn a_revocation_is_read_and_belongs_to_the_list_of_its_namespace() {
    let text = "apiVersion: rescind.dev/v1alpha1\nkind: Revocation\nmetadata: {name: ticket-1, namespace: shop}\n\
                spec:\n  listName: main\n  issuer: https://id.example.com\n  target: {subject: alice}\n";
    let objects = parse("f", text).unwrap();
    let [Object::Revocation { list, name, .. }] = objects.as_slice() else { panic!("{objects:?}") };
    assert_eq!((list.to_string().as_str(), name.as_str()), ("shop/main", "ticket-1"));
    let error = parse("f", &text.replace("subject: alice", "subject: ''")).unwrap_err().to_string();
    assert!(error.starts_with("f:7: spec.target.subject: is empty"), "{error}");
    let error =
        parse("f", &text.replace("{subject: alice}", "{subject: a, client: b}")).unwrap_err().to_string();
    assert!(error.starts_with("f:7: spec.target: name exactly one of"), "{error}");
}
