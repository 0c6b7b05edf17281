//! Reads what the checks look at. Every call has a deadline, and so has all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use futures::FutureExt as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ResourceQuota, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use kube::api::{Api, ListParams, PostParams};
use kube::core::DeserializeGuard;
use serde::de::DeserializeOwned;

use super::super::cluster::{
    Cluster, ClusterError, LISTS, REVOCATIONS, Replica, Wanted, all_pages, replicas,
};
use super::checks::permissions;
use super::facts::{Answered, Facts, Given, Injected, Read, Right, Twice};
use super::labels::{ENABLED, INJECT};
use super::shipped::{self, ACCOUNT};
use crate::api::revocation as api;
use crate::api::token_revocation_list::TokenRevocationList;
use crate::runtime::clock::Clock;

/// One answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// All that concerns one check, however many pages that takes.
const CHECK_WITHIN: Duration = Duration::from_secs(15);
/// Heartbeats and the lease are looked at again and again until they have moved: the slowest is renewed every two
/// seconds.
const LOOKS: u32 = 6;
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// So much is looked at, and no more: a cluster may be large.
const MOST_PODS: u32 = 500;
const MOST_NAMESPACES: usize = 50;
const AT_ONE_TIME: usize = 8;

/// What the ConfigMap and the Secret of the authority are called, and the key of the certificates.
const AUTHORITY: &str = "rescind-ca";
const CERTIFICATES: &str = "ca.crt";
/// What the Service of the webhook is called.
pub(super) const WEBHOOK: &str = "rescind-webhook";

/// Asks the API server who it is, and who we are.
pub(super) async fn answered(cluster: &Cluster, clock: &dyn Clock) -> Read<Answered> {
    let asked = clock.now().wall();
    let server = cluster.server().await?;
    let answered = clock.now().wall();
    let user = match cluster.user().await {
        Err(ClusterError::Forbidden { .. } | ClusterError::Denied(_)) => None,
        answer => answer?,
    };
    Ok(Answered { server, asked, answered, user })
}

/// Reads everything else, all of it at one time.
pub(super) async fn facts(cluster: &Cluster, controllers: &str, now: i64) -> Facts {
    let reader = Reader { cluster, controllers };
    let (
        definitions,
        own_rights,
        controller_rights,
        (policies, bindings, webhook),
        (replicas, lease),
        of_controllers,
        (webhook_service, webhook_endpoints),
        lists,
        quotas,
        (namespaces, injected),
    ) = tokio::join!(
        reader.definitions().boxed_local(),
        reader.own_rights().boxed_local(),
        reader.controller_rights().boxed_local(),
        reader.admission().boxed_local(),
        reader.looks().boxed_local(),
        reader.of_controllers().boxed_local(),
        reader.behind_webhook().boxed_local(),
        reader.lists().boxed_local(),
        reader.quotas().boxed_local(),
        reader.injection().boxed_local(),
    );
    let (deployment, authority, authority_secret) = of_controllers;
    Facts {
        controllers: controllers.to_owned(),
        now,
        definitions,
        own_rights,
        controller_rights,
        policies,
        bindings,
        webhook,
        webhook_service,
        webhook_endpoints,
        authority_secret,
        authority,
        deployment,
        replicas,
        lease,
        lists,
        quotas,
        namespaces,
        injected,
    }
}

struct Reader<'a> {
    cluster: &'a Cluster,
    controllers: &'a str,
}

/// One look at what moves.
type Look = (Read<Vec<Replica>>, Read<Option<Lease>>);

impl Reader<'_> {
    fn everywhere<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.cluster.client())
    }

    fn of_namespace<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.cluster.client(), namespace)
    }

    /// Waits for several calls, but not for ever.
    async fn within<T>(&self, reading: impl Future<Output = Read<T>>) -> Read<T> {
        let read = tokio::time::timeout(CHECK_WITHIN, reading).await;
        read.unwrap_or_else(|_| Err(self.cluster.no_answer(CHECK_WITHIN)))
    }

    async fn get<K: Clone + DeserializeOwned + Debug>(
        &self,
        api: &Api<K>,
        name: &str,
        wanted: Wanted,
    ) -> Read<Option<K>> {
        self.cluster.call(wanted, api.get_opt(name)).await
    }

    async fn all<K: Clone + DeserializeOwned + Debug>(&self, api: &Api<K>, wanted: Wanted) -> Read<Vec<K>> {
        self.within(all_pages(self.cluster, wanted, api, None)).await
    }

    async fn definitions(&self) -> Vec<(&'static str, Read<Option<CustomResourceDefinition>>)> {
        let api = self.everywhere();
        let wanted = || Wanted::new("get", "customresourcedefinitions.apiextensions.k8s.io", None);
        let (revocations, lists) =
            tokio::join!(self.get(&api, REVOCATIONS, wanted()), self.get(&api, LISTS, wanted()));
        vec![(LISTS, lists), (REVOCATIONS, revocations)]
    }

    async fn own_rights(&self) -> Given {
        let api: Api<SelfSubjectAccessReview> = self.everywhere();
        let ask = async |right: Right| {
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes(&right)),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let wanted = Wanted::new("create", "selfsubjectaccessreviews.authorization.k8s.io", None);
            let answer = self.cluster.call(wanted, api.create(&PostParams::default(), &review)).await?;
            Ok((right, answer.status.is_some_and(|status| status.allowed)))
        };
        let rights = permissions::wanted(self.cluster.namespace());
        self.within(stream::iter(rights).map(ask).buffered(AT_ONE_TIME).try_collect()).await
    }

    async fn controller_rights(&self) -> Given {
        let api: Api<SubjectAccessReview> = self.everywhere();
        let namespace = self.controllers;
        let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned).into_iter();
        let groups: Vec<String> = groups.chain([format!("system:serviceaccounts:{namespace}")]).collect();
        let ask = async |right: Right| {
            let spec = SubjectAccessReviewSpec {
                user: Some(format!("system:serviceaccount:{namespace}:{ACCOUNT}")),
                groups: Some(groups.clone()),
                resource_attributes: Some(attributes(&right)),
                ..SubjectAccessReviewSpec::default()
            };
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            let wanted = Wanted::new("create", "subjectaccessreviews.authorization.k8s.io", None);
            let answer = self.cluster.call(wanted, api.create(&PostParams::default(), &review)).await?;
            Ok((right, answer.status.is_some_and(|status| status.allowed)))
        };
        let rights = shipped::controller_rights(namespace);
        self.within(stream::iter(rights).map(ask).buffered(AT_ONE_TIME).try_collect()).await
    }

    async fn admission(
        &self,
    ) -> (
        Read<Vec<ValidatingAdmissionPolicy>>,
        Read<Vec<ValidatingAdmissionPolicyBinding>>,
        Read<Option<MutatingWebhookConfiguration>>,
    ) {
        let (policies, bindings, webhooks) = (self.everywhere(), self.everywhere(), self.everywhere());
        let wanted = |verb, resource| Wanted::new(verb, resource, None);
        tokio::join!(
            self.all(&policies, wanted("list", "validatingadmissionpolicies.admissionregistration.k8s.io")),
            self.all(
                &bindings,
                wanted("list", "validatingadmissionpolicybindings.admissionregistration.k8s.io")
            ),
            self.get(
                &webhooks,
                "rescind-injector",
                wanted("get", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
            ),
        )
    }

    /// Looks until heartbeats and lease have moved, or for long enough to say that they do not.
    async fn looks(&self) -> (Read<Twice<Vec<Replica>>>, Read<Twice<Option<Lease>>>) {
        let first = self.look().await;
        let mut second = first.clone();
        for _ in 0..LOOKS {
            if first.0.is_err() && first.1.is_err() {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
            second = self.look().await;
            if has_moved(&first, &second) {
                break;
            }
        }
        fn twice<T>(first: Read<T>, second: Read<T>) -> Read<Twice<T>> {
            Ok(Twice { first: first?, second: second? })
        }
        (twice(first.0, second.0), twice(first.1, second.1))
    }

    async fn look(&self) -> Look {
        let beats: Api<DeserializeGuard<api::Revocation>> = self.of_namespace(self.controllers);
        let leases: Api<Lease> = self.of_namespace(self.controllers);
        let wanted = |verb, resource| Wanted::new(verb, resource, Some(self.controllers));
        let beats = all_pages(self.cluster, wanted("list", REVOCATIONS), &beats, Some("spec.listName="));
        let (beats, lease) = tokio::join!(
            self.within(beats),
            self.get(&leases, "rescind-controller", wanted("get", "leases.coordination.k8s.io")),
        );
        let known = |beats: Vec<DeserializeGuard<api::Revocation>>| {
            replicas(beats.into_iter().filter_map(|DeserializeGuard(beat)| beat.ok()))
        };
        (beats.map(known), lease)
    }

    async fn of_controllers(&self) -> (Read<Option<Deployment>>, Read<Option<String>>, Read<bool>) {
        let namespace = self.controllers;
        let (deployments, secrets) = (self.of_namespace(namespace), self.of_namespace::<Secret>(namespace));
        let wanted = |resource| Wanted::new("get", resource, Some(namespace));
        // The names of a Secret's keys would come with their values, which are nobody's business here.
        let secret = self.cluster.call(wanted("secrets"), secrets.get_metadata_opt(AUTHORITY));
        let (deployment, authority, secret) = tokio::join!(
            self.get(&deployments, "rescind-controller", wanted("deployments.apps")),
            self.authority(namespace),
            secret,
        );
        (deployment, authority, secret.map(|found| found.is_some()))
    }

    /// Returns the Service at which the webhook is asked, and what is behind it.
    async fn behind_webhook(&self) -> (Read<Option<Service>>, Read<Vec<EndpointSlice>>) {
        let namespace = self.controllers;
        let (services, slices) =
            (self.of_namespace(namespace), self.of_namespace::<EndpointSlice>(namespace));
        let named =
            ListParams::default().labels(&format!("kubernetes.io/service-name={WEBHOOK}")).limit(MOST_PODS);
        let wanted = |verb, resource| Wanted::new(verb, resource, Some(namespace));
        let (service, slices) = tokio::join!(
            self.get(&services, WEBHOOK, wanted("get", "services")),
            self.cluster.call(wanted("list", "endpointslices.discovery.k8s.io"), slices.list(&named)),
        );
        (service, slices.map(|list| list.items))
    }

    /// Returns the certificates that a namespace is given.
    async fn authority(&self, namespace: &str) -> Read<Option<String>> {
        let maps: Api<ConfigMap> = self.of_namespace(namespace);
        let map = self.get(&maps, AUTHORITY, Wanted::new("get", "configmaps", Some(namespace))).await?;
        Ok(map.map(|map| map.data.unwrap_or_default().remove(CERTIFICATES).unwrap_or_default()))
    }

    /// Lists the lists of all namespaces; who may not, those of the chosen one.
    async fn lists(&self) -> Read<Vec<TokenRevocationList>> {
        match self.all(&self.everywhere(), Wanted::new("list", LISTS, None)).await {
            Err(ClusterError::Forbidden { .. }) => {
                let namespace = self.cluster.namespace();
                self.all(&self.of_namespace(namespace), Wanted::new("list", LISTS, Some(namespace))).await
            }
            found => found,
        }
    }

    async fn quotas(&self) -> Read<Vec<ResourceQuota>> {
        self.all(&self.everywhere(), Wanted::new("list", "resourcequotas", None)).await
    }

    /// Reads the namespaces that ask for sidecars, and what is in those and in the namespaces of pods that ask.
    async fn injection(&self) -> (Read<Vec<Namespace>>, Read<BTreeMap<String, Injected>>) {
        let asking = ListParams::default().labels(&format!("{INJECT}={ENABLED}")).limit(MOST_PODS);
        let (namespaces, pods) = (self.everywhere::<Namespace>(), self.everywhere::<Pod>());
        let wanted = |resource| Wanted::new("list", resource, None);
        let (namespaces, pods) = tokio::join!(
            self.cluster.call(wanted("namespaces"), namespaces.list(&asking)),
            self.cluster.call(wanted("pods"), pods.list(&asking)),
        );
        let is_looked_at = |name: &String| name != "kube-system" && name != self.controllers;
        let namespaces = namespaces.map(|mut list| {
            list.items.retain(|namespace| namespace.metadata.name.as_ref().is_some_and(is_looked_at));
            list.items
        });
        let injected = match (&namespaces, pods) {
            (Ok(namespaces), Ok(pods)) => {
                let named = namespaces.iter().filter_map(|namespace| namespace.metadata.name.clone());
                let of_pods = pods.items.into_iter().filter_map(|pod| pod.metadata.namespace);
                let names: BTreeSet<String> =
                    named.chain(of_pods).filter(|name| is_looked_at(name)).collect();
                let look = async |name: String| Ok((name.clone(), self.injected(&name).await?));
                let names = stream::iter(names.into_iter().take(MOST_NAMESPACES));
                self.within(names.map(look).buffered(AT_ONE_TIME).try_collect()).await
            }
            (Err(error), _) => Err(error.clone()),
            (_, Err(error)) => Err(error),
        };
        (namespaces, injected)
    }

    async fn injected(&self, namespace: &str) -> Read<Injected> {
        let pods: Api<Pod> = self.of_namespace(namespace);
        let params = ListParams::default().limit(MOST_PODS);
        let wanted = Wanted::new("list", "pods", Some(namespace));
        let (authority, pods) =
            tokio::join!(self.authority(namespace), self.cluster.call(wanted, pods.list(&params)));
        Ok(Injected { authority: authority?, pods: pods?.items })
    }
}

fn has_moved(first: &Look, second: &Look) -> bool {
    let is_renewed = match (&first.1, &second.1) {
        (Ok(Some(first)), Ok(Some(second))) => {
            first.metadata.resource_version != second.metadata.resource_version
        }
        // There is nothing to wait for.
        (Err(_) | Ok(None), _) | (_, Err(_) | Ok(None)) => true,
    };
    let is_beating = match (&first.0, &second.0) {
        (Ok(first), Ok(second)) => second.iter().filter(|replica| replica.connected() > 0).all(|replica| {
            let before = first.iter().find(|before| before.replica == replica.replica);
            before.is_none_or(|before| before.nonce != replica.nonce)
        }),
        (Err(_), _) | (_, Err(_)) => true,
    };
    is_renewed && is_beating
}

fn attributes(right: &Right) -> ResourceAttributes {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, subresource)) => (resource, text(subresource)),
        None => (right.resource.as_str(), None),
    };
    ResourceAttributes {
        verb: text(&right.verb),
        group: text(&right.group),
        resource: text(resource),
        subresource,
        name: text(&right.name),
        namespace: text(&right.namespace),
        ..ResourceAttributes::default()
    }
}
