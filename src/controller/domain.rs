//! The names under which the controllers' services are known.

/// Where the controllers' services are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    services: String,
    cluster: String,
    namespace: String,
}

/// How many bytes a domain may have: there are names below it.
const MAX_DOMAIN: usize = 200;

impl Domain {
    /// Makes it of the services' domain, e.g. `rescind-system.svc`, the cluster's, e.g. `cluster.local`, and the
    /// controllers' namespace.
    ///
    /// # Errors
    /// A sentence that names the flag.
    pub fn new(services: &str, cluster: &str, namespace: &str) -> anyhow::Result<Self> {
        for (flag, domain, example) in [
            ("--namespace", namespace, "rescind-system"),
            ("--service-domain", services, "rescind-system.svc"),
            ("--cluster-domain", cluster, "cluster.local"),
        ] {
            anyhow::ensure!(
                domain.len() <= MAX_DOMAIN && domain.split('.').all(is_label),
                "{flag} {domain} is no domain: write it in lower case and without a dot at the end, such as {example}"
            );
        }
        Ok(Self {
            services: services.to_owned(),
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
        })
    }

    /// Returns the names of the controllers' services, as sidecars, people and the API server call them: each once.
    pub(super) fn names(&self) -> Vec<String> {
        let services = ["rescind-controller", "rescind-admin", "rescind-webhook"];
        let short = services.map(|service| format!("{service}.{}", self.services));
        let long = short.iter().map(|name| format!("{name}.{}", self.cluster)).collect::<Vec<_>>();
        // The API server calls the webhook by its namespace, whatever domain the services are said to have.
        let own = services.map(|service| format!("{service}.{}.svc", self.namespace));
        let mut names: Vec<String> = short.into_iter().chain(long).collect();
        for name in own {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

fn is_label(label: &str) -> bool {
    let within = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    within && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_known_with_and_without_the_domain_of_the_cluster() {
        let names = Domain::new("rescind-system.svc", "example.internal", "rescind-system").unwrap().names();
        let (short, long) = names.split_at(3);
        let expected = ["rescind-controller", "rescind-admin", "rescind-webhook"];
        assert_eq!(short, expected.map(|service| format!("{service}.rescind-system.svc")));
        assert_eq!(long, expected.map(|service| format!("{service}.rescind-system.svc.example.internal")));
    }

    /// The API server verifies `rescind-webhook.NAMESPACE.svc`, and no flag tells it otherwise.
    #[test]
    fn another_domain_of_the_services_takes_no_name_from_the_api_server() {
        let names = Domain::new("rescind.example", "cluster.local", "tokens").unwrap().names();
        let expected = ["rescind.example", "rescind.example.cluster.local", "tokens.svc"].map(|domain| {
            ["rescind-controller", "rescind-admin", "rescind-webhook"].map(|it| format!("{it}.{domain}"))
        });
        assert_eq!(names, expected.concat());
    }

    #[test]
    fn what_is_no_domain_is_refused_by_its_flag() {
        for wrong in ["", "Upper.svc", "svc.", "-a.svc", "a_b.svc", &"a.".repeat(150)] {
            for (services, cluster, namespace, flag) in [
                (wrong, "cluster.local", "a", "--service-domain"),
                ("a.svc", wrong, "a", "--cluster-domain"),
                ("a.svc", "cluster.local", wrong, "--namespace"),
            ] {
                let said = Domain::new(services, cluster, namespace).unwrap_err().to_string();
                assert!(said.starts_with(&format!("{flag} {wrong} is no domain")), "{said}");
            }
        }
    }
}
