//! Who a sidecar is, and which lists it may have, on Kubernetes.
//!
//! A sidecar shows a ServiceAccount token of our audience, and the API server says whose it is. While that can't be asked,
//! the token is verified with the cluster's keys, and is worth what this process has given to the same account before.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use tokio::time::Instant;
use tonic::Status;

use crate::api::allowed_subscribers::{Allowed, AllowedSubscribers, ServiceAccount};
use crate::distribution::admission::{Admission, Authenticator, Guest};
use crate::revocation::names::ListName;

use super::issuer_keys::NewestKeys;
use super::reviews::{NoAnswer, Reviewed, Reviews};

/// How many pairs of an account and a list are remembered.
const MAX_PAIRS: usize = 100_000;
/// Of how many namespaces the labels are remembered.
const MAX_NAMESPACES: usize = 10_000;
/// How long labels are believed while they can be read again.
const LABELS_FOR: Duration = Duration::from_secs(5);
/// A token that the API server has said nothing about is looked at again soon.
const UNREVIEWED_FOR: Duration = Duration::from_secs(60);
/// A token is looked at again after so long, also if it is good for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Knows the sidecars of a cluster. Clones share it.
#[derive(Clone)]
pub(super) struct Subscribers {
    shared: Arc<Shared>,
}

struct Shared {
    reviews: Arc<Reviews>,
    keys: Arc<NewestKeys>,
    audience: String,
    admitted: Mutex<Pairs>,
    labels: Mutex<HashMap<String, Labels>>,
}

/// Whom this process has given which list; the oldest are forgotten first.
#[derive(Debug, Default)]
struct Pairs {
    known: HashSet<(ServiceAccount, ListName)>,
    order: VecDeque<(ServiceAccount, ListName)>,
    accounts: HashMap<ServiceAccount, usize>,
}

/// What is known of the labels of a namespace.
#[derive(Clone, Debug)]
struct Labels {
    /// None if there is no such namespace, or nothing was read yet.
    found: Option<Arc<BTreeMap<String, String>>>,
    looked: Instant,
    /// Whether the last look has failed.
    failed: bool,
}

impl Pairs {
    fn add(&mut self, account: &ServiceAccount, list: &ListName) {
        let pair = (account.clone(), list.clone());
        if !self.known.insert(pair.clone()) {
            return;
        }
        *self.accounts.entry(account.clone()).or_default() += 1;
        self.order.push_back(pair);
        if self.order.len() > MAX_PAIRS
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
    }

    fn remove(&mut self, account: &ServiceAccount, list: &ListName) {
        let pair = (account.clone(), list.clone());
        if self.forget(&pair) {
            self.order.retain(|other| *other != pair);
        }
    }

    fn forget(&mut self, pair: &(ServiceAccount, ListName)) -> bool {
        let was = self.known.remove(pair);
        if was && let Some(lists) = self.accounts.get_mut(&pair.0) {
            *lists -= 1;
            if *lists == 0 {
                self.accounts.remove(&pair.0);
            }
        }
        was
    }

    fn has(&self, account: &ServiceAccount, list: &ListName) -> bool {
        self.known.contains(&(account.clone(), list.clone()))
    }
}

impl Subscribers {
    pub(super) fn new(reviews: Arc<Reviews>, keys: Arc<NewestKeys>, audience: String) -> Self {
        let (admitted, labels) = (Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { reviews, keys, audience, admitted, labels }) }
    }

    fn guest(&self, account: ServiceAccount, proof: Proof, good_for: Duration) -> Box<dyn Guest> {
        let (shared, asks_for_labels) = (Arc::clone(&self.shared), AtomicBool::new(false));
        let good_for = good_for.min(LONGEST);
        Box::new(Sidecar { shared, account, proof, good_for, asks_for_labels })
    }

    async fn identify(&self, token: Option<String>) -> Result<Box<dyn Guest>, Status> {
        let Shared { reviews, keys, audience, .. } = &*self.shared;
        let token = token.ok_or_else(|| {
            Status::unauthenticated(format!(
                "show a ServiceAccount token with audience {audience}: give the sidecar --token-file"
            ))
        })?;
        let reviewed = if keys.is_rubbish(&token) {
            Ok(Reviewed::Nobody)
        } else {
            reviews.whose(&token, Some(audience)).await
        };
        match reviewed {
            Ok(Reviewed::User(user)) => {
                let account = ServiceAccount::of_user(&user.name).ok_or_else(|| {
                    Status::unauthenticated("the token is not a ServiceAccount's: lists are for pods")
                })?;
                Ok(self.guest(account, Proof::Reviewed, reviews.ends_in(&token).unwrap_or(LONGEST)))
            }
            Ok(Reviewed::Nobody) => Err(Status::unauthenticated(format!(
                "the token is not good: it has ended, is of another cluster, or has not the audience {audience}"
            ))),
            // Else whoever keeps this controller busy would decide that tokens which were taken back are good.
            Err(NoAnswer::Busy) => {
                Err(Status::unavailable("more sidecars ask to be let in than can be looked at: try again"))
            }
            Err(NoAnswer::Away) => match keys.verify(&token, audience, reviews.now()) {
                Some(Ok(account)) if self.shared.knows(&account) => {
                    Ok(self.guest(account, Proof::Signature, UNREVIEWED_FOR))
                }
                Some(Err(rejection)) => Err(Status::unauthenticated(format!(
                    "the token is not good ({}), and the API server can't be asked",
                    rejection.code()
                ))),
                Some(Ok(_)) | None => Err(Status::unavailable(
                    "the API server can't be asked whose this token is, and this controller does not know it: try again",
                )),
            },
        }
    }
}

impl Authenticator for Subscribers {
    fn authenticate(&self, token: Option<String>) -> BoxFuture<'_, Result<Box<dyn Guest>, Status>> {
        Box::pin(self.identify(token))
    }
}

impl Shared {
    fn pairs<T>(&self, look: impl FnOnce(&mut Pairs) -> T) -> T {
        look(&mut self.admitted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn knows(&self, account: &ServiceAccount) -> bool {
        self.pairs(|pairs| pairs.accounts.contains_key(account))
    }

    fn labels(&self, namespace: &str) -> Option<Labels> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }

    async fn read_labels(&self, namespace: String) {
        let name = namespace.clone();
        let read = self.reviews.ask(|client| async move {
            let api: Api<Namespace> = Api::all(client);
            api.get_opt(&name).await
        });
        let read = read.await;
        let mut known = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = Instant::now();
        let labels = match read {
            Ok(found) => {
                let found = found.map(|object| Arc::new(object.metadata.labels.unwrap_or_default()));
                Labels { found, looked, failed: false }
            }
            Err(NoAnswer::Away | NoAnswer::Busy) => {
                let found = known.get(&namespace).and_then(|labels| labels.found.clone());
                Labels { found, looked, failed: true }
            }
        };
        if known.len() >= MAX_NAMESPACES && !known.contains_key(&namespace) {
            let oldest = known.iter().min_by_key(|(_, labels)| labels.looked).map(|(name, _)| name.clone());
            oldest.map(|oldest| known.remove(&oldest));
        }
        known.insert(namespace, labels);
    }
}

/// What the labels of a namespace are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing<'a> {
    /// They have to be read, anew if they were before: somebody else's namespace may have the name now.
    Unread,
    /// They can't be.
    Unreadable,
    /// There is no such namespace.
    Gone,
    Labelled(&'a BTreeMap<String, String>),
}

/// Judges what is known of labels. While they can't be read, those that were count for whom this process has `known` with
/// them.
fn standing(labels: Option<&Labels>, known: bool, now: Instant) -> Standing<'_> {
    let Some(Labels { found, looked, failed }) = labels else { return Standing::Unread };
    match (found, failed) {
        (_, true) if !known => Standing::Unreadable,
        (None, true) => Standing::Unread,
        (_, false) if now.saturating_duration_since(*looked) > 2 * LABELS_FOR => Standing::Unread,
        (None, false) => Standing::Gone,
        (Some(labels), _) => Standing::Labelled(labels),
    }
}

/// How it is known who a sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The API server has said so.
    Reviewed,
    /// Its token is signed by the cluster, and the API server could not be asked.
    Signature,
}

/// The sidecar of one stream.
struct Sidecar {
    shared: Arc<Shared>,
    account: ServiceAccount,
    proof: Proof,
    good_for: Duration,
    asks_for_labels: AtomicBool,
}

impl Sidecar {
    fn decide(&self, list: &ListName, allowed: &AllowedSubscribers, known: bool) -> Admission {
        let without = allowed.allows(list, &self.account, None);
        if without != Allowed::DependsOnLabels {
            return self.decided(list, without);
        }
        self.asks_for_labels.store(true, Ordering::Relaxed);
        let known_labels = self.shared.labels(&self.account.namespace);
        match standing(known_labels.as_ref(), known, Instant::now()) {
            Standing::Unread => Admission::Pending,
            Standing::Unreadable => Admission::Unknown {
                why: format!(
                    "the labels of namespace {} can't be read now, and list {list} depends on them: it is tried again",
                    self.account.namespace
                ),
            },
            // A namespace that is gone has nobody in it.
            Standing::Gone => self.decided(list, Allowed::No { field: "spec.allowedSubscribers.namespaces" }),
            Standing::Labelled(labels) => {
                self.decided(list, allowed.allows(list, &self.account, Some(labels)))
            }
        }
    }

    fn decided(&self, list: &ListName, allowed: Allowed) -> Admission {
        match allowed {
            Allowed::Yes => Admission::Admitted,
            Allowed::DependsOnLabels => Admission::Pending,
            Allowed::No { field } => Admission::Refused { why: self.refusal(list, Some(field)) },
        }
    }

    /// Who is in another namespace does not learn whether a list is there that does not admit them.
    fn refusal(&self, list: &ListName, field: Option<&str>) -> String {
        let account = &self.account;
        match field {
            _ if account.namespace != list.namespace() => format!(
                "list {list} does not admit ServiceAccount {account}, or there is no such list: its owner can name the \
                 account in spec.allowedSubscribers"
            ),
            Some(field) => {
                format!("list {list} does not admit ServiceAccount {account}: change {field} of the list")
            }
            None => format!(
                "there is no list {list}, or its declaration can't be used: see kubectl get tokenrevocationlists -n {}",
                list.namespace()
            ),
        }
    }
}

impl Guest for Sidecar {
    fn judge(&self, list: &ListName, allowed: Option<&AllowedSubscribers>) -> Admission {
        let known = self.shared.pairs(|pairs| pairs.has(&self.account, list));
        if self.proof == Proof::Signature && !known {
            let why = format!(
                "the API server can't be asked, and this controller has not given list {list} to ServiceAccount {} \
                 before: it is tried again",
                self.account
            );
            return Admission::Unknown { why };
        }
        let admission = match allowed {
            Some(allowed) => self.decide(list, allowed, known),
            None => Admission::Refused { why: self.refusal(list, None) },
        };
        match &admission {
            Admission::Admitted if !known => self.shared.pairs(|pairs| pairs.add(&self.account, list)),
            // Of a list that is not published nothing is known.
            Admission::Refused { .. } if known && allowed.is_some() => {
                self.shared.pairs(|pairs| pairs.remove(&self.account, list));
            }
            Admission::Admitted
            | Admission::Refused { .. }
            | Admission::Pending
            | Admission::Unknown { .. } => {}
        }
        admission
    }

    fn look_up(&self) -> Option<BoxFuture<'static, ()>> {
        if !self.asks_for_labels.swap(false, Ordering::Relaxed) {
            return None;
        }
        let namespace = self.account.namespace.clone();
        let known = self.shared.labels(&namespace);
        if known.is_some_and(|labels| labels.looked.elapsed() < LABELS_FOR) {
            return None;
        }
        let shared = Arc::clone(&self.shared);
        Some(Box::pin(async move { shared.read_labels(namespace).await }))
    }

    fn good_for(&self) -> Duration {
        self.good_for
    }

    fn can_be_renewed(&self) -> bool {
        self.shared.reviews.answers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(found: bool, failed: bool, looked: Instant) -> Labels {
        Labels { found: found.then(Arc::default), looked, failed }
    }

    #[test]
    fn labels_that_were_not_looked_at_lately_are_read_before_they_count() {
        let start = Instant::now();
        let check = |labels: &Labels, known, seconds, expected: &str| {
            let standing = standing(Some(labels), known, start + Duration::from_secs(seconds));
            let found = format!("{standing:?}");
            assert!(found.starts_with(expected), "after {seconds} s: {found}, not {expected}");
        };
        assert_eq!(standing(None, true, start), Standing::Unread);
        for known in [false, true] {
            check(&labels(true, false, start), known, 10, "Labelled");
            check(&labels(true, false, start), known, 11, "Unread");
            check(&labels(false, false, start), known, 10, "Gone");
            check(&labels(false, false, start), known, 11, "Unread");
        }
        // While they can't be read, what was read counts for whom it has let in.
        check(&labels(true, true, start), true, 3600, "Labelled");
        check(&labels(true, true, start), false, 0, "Unreadable");
        check(&labels(false, true, start), true, 0, "Unread");
    }
}
